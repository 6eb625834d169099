"""Headers and cookies as the DevTools protocol has them, from and to those of the walk. Pure."""

from typing import Any

from daemon.trace.walk.cookies import Cookie

Params = dict[str, Any]


def raw_headers(headers: list[Params]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((_bytes(header["name"]), _bytes(header["value"])) for header in headers)


def _bytes(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()


def header_of(name: bytes, value: bytes) -> Params:
    return {"name": name.decode("latin-1"), "value": value.decode("latin-1")}


def cookie_of(cookie: Cookie) -> Params:
    """The parameters of Network.setCookies."""
    value = cookie.value.encode("latin-1").decode("utf-8", "replace")
    known = {"name": cookie.name, "value": value, "path": cookie.path, "secure": cookie.secure}
    scheme = "https" if cookie.secure else "http"
    where = {"url": f"{scheme}://{cookie.domain}/"} if cookie.host_only else {"domain": f".{cookie.domain}"}
    return {**known, **where, "httpOnly": cookie.http_only}
