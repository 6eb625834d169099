"""Which elements of a page make a browser run a script without the visitor's doing. Pure."""

from collections.abc import Mapping

Attributes = Mapping[str, str | None]

# JavaScript MIME types, module, and the empty string (HTML 4.12.1.1, MIME Sniffing 4.6).
_TYPES = frozenset(
    f"{top}/{name}"
    for top in ("text", "application")
    for name in ("javascript", "ecmascript", "x-javascript", "x-ecmascript")
) | {"", "module", "text/jscript", "text/livescript", *(f"text/javascript1.{minor}" for minor in range(6))}
_VISITORS_EVENTS = frozenset(
    {"abort", "afterprint", "auxclick", "beforeinput", "beforeprint", "beforeunload", "blur", "cancel", "change",
     "click", "close", "contextmenu", "copy", "cut", "dblclick", "drag", "dragend", "dragenter", "dragleave",
     "dragover", "dragstart", "drop", "focus", "focusin", "focusout", "fullscreenchange", "hashchange", "input",
     "invalid", "keydown", "keypress", "keyup", "message", "mousedown", "mouseenter", "mouseleave", "mousemove",
     "mouseout", "mouseover", "mouseup", "mousewheel", "offline", "online", "orientationchange", "pagehide", "paste",
     "pointerdown", "pointermove", "pointerup", "popstate", "reset", "resize", "scroll", "search", "select", "storage",
     "submit", "toggle", "touchcancel", "touchend", "touchmove", "touchstart", "unload", "visibilitychange", "wheel"}
)  # fmt: skip


def is_script(attributes: Attributes) -> bool:
    """Whether a browser runs a script element with these attributes (HTML 4.12.1.1, prepare the script element)."""
    kind = attributes.get("type")
    if kind is None and attributes.get("language"):
        kind = f"text/{attributes['language']}"
    event, target = (attributes.get("event"), attributes.get("for"))
    if event is not None and target is not None:
        event, target = event.strip().lower(), target.strip().lower()
        if target != "window" or event not in ("onload", "onload()"):
            return False
    return "nomodule" not in attributes and (kind or "").strip().lower() in _TYPES


def has_handler(tag: str, attributes: Attributes) -> bool:
    """Whether an element has a handler of an event that may occur without the visitor."""
    if tag == "img" and not attributes.get("src") and not attributes.get("srcset"):
        return False  # it loads nothing
    return any(
        name.startswith("on") and code and (name[2:] not in _VISITORS_EVENTS or _occurs(name, attributes))
        for name, code in attributes.items()
    )


def _occurs(name: str, attributes: Attributes) -> bool:
    """Whether a visitor's event occurs at the load too, by an attribute."""
    return (name == "onfocus" and "autofocus" in attributes) or (name == "ontoggle" and "open" in attributes)
