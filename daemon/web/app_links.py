"""The web page that stands for a link to an app, where the app itself cannot be opened. Pure."""

from urllib.parse import quote, unquote

from ada_url import URL

from daemon.web.headers import parsed

_WEB_SCHEMES = frozenset({"http", "https"})
_PLAY_STORE = "https://play.google.com/store/"
_APP_STORE_SCHEMES = frozenset({"itms", "itmss", "itms-apps", "itms-appss"})
SCHEMES = _APP_STORE_SCHEMES | {"intent", "market"}  # of links that may have a web page


def web_page_of(href: str) -> URL | None:
    """The http(s) URL that a browser without the app opens instead of `href`, a serialized URL; None if there is none.

    An Android intent names its own fallback URL, or its app has a page in the Play Store ("Android Intents with
    Chrome"). A market URL is a page of the Play Store, and an itms URL is a page of the App Store.
    """
    scheme, _, rest = href.partition(":")
    if scheme == "intent":
        return _intent(rest)
    if scheme == "market" and rest.startswith("//"):
        page = rest.removeprefix("//").partition("#")[0]
        return _web("apps/" + page if page.startswith(("details?", "dev?", "developer?")) else page, _PLAY_STORE)
    if scheme in _APP_STORE_SCHEMES and rest.startswith("//"):
        return _web("https:" + rest)
    return None


def _intent(rest: str) -> URL | None:
    """The page for `intent:…#Intent;key=value;…;end`."""
    target, mark, text = rest.partition("#Intent;")
    if not mark:
        return None
    values = {key: unquote(value) for key, _, value in (part.partition("=") for part in text.split(";"))}
    scheme = values.get("scheme", "")
    if (fallback := values.get("S.browser_fallback_url")) and (url := _web(fallback)) is not None:
        return url
    if scheme in _WEB_SCHEMES:
        return _web(f"{scheme}:{target}")
    package = values.get("package")
    return _web("apps/details?id=" + quote(package, safe=""), _PLAY_STORE) if package else None


def _web(text: str, base: str | None = None) -> URL | None:
    url = parsed(text, base)
    return url if url is not None and url.protocol in ("http:", "https:") and url.hostname else None
