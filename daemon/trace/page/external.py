"""External scripts that are known not to leave a page: they measure, or are libraries. Pure."""

import re

from ada_url import URL

from daemon.web.headers import parsed

_HOSTS = frozenset(
    {"ajax.googleapis.com", "analytics.tiktok.com", "bat.bing.com", "cdnjs.cloudflare.com", "code.jquery.com",
     "connect.facebook.net", "mc.yandex.ru", "snap.licdn.com", "ssl.google-analytics.com",
     "static.cloudflareinsights.com", "static.hotjar.com", "www.clarity.ms", "www.google-analytics.com",
     "www.googletagmanager.com"}
)  # fmt: skip
_LOADS = re.compile(r"createElement|<script|getScript|importScripts|\bimport\b")
_HOST = re.compile(r"//([A-Za-z0-9.-]+\.[A-Za-z]{2,})(?=[/?'\"])")


def stays(src: str, base: URL) -> bool:
    """Whether the external script `src` is known not to leave the page."""
    url = parsed(src, base.href)
    return url is not None and url.hostname in _HOSTS


def loads_unknown_scripts(text: str) -> bool:
    """Whether a script may add other scripts to its page than those known to stay."""
    if _LOADS.search(text) is None:
        return False
    hosts = set(_HOST.findall(text))
    return not hosts or not hosts <= _HOSTS
