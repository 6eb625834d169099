"""External scripts that are known not to leave a page: they measure, or are libraries. Pure."""

from ada_url import URL

from daemon.web.headers import parsed

MEASURING_HOSTS = frozenset(
    {"analytics.tiktok.com", "bat.bing.com", "connect.facebook.net", "mc.yandex.ru", "snap.licdn.com",
     "ssl.google-analytics.com", "static.cloudflareinsights.com", "static.hotjar.com", "www.clarity.ms",
     "www.google-analytics.com", "www.googletagmanager.com"}
)  # fmt: skip
_LIBRARIES = frozenset({"ajax.googleapis.com", "cdnjs.cloudflare.com", "code.jquery.com"})


def stays(src: str, base: URL) -> bool:
    """Whether the external script `src` does nothing to where its page goes, if no other script runs."""
    url = parsed(src, base.href)
    return url is not None and (url.hostname in MEASURING_HOSTS or url.hostname in _LIBRARIES)
