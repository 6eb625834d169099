"""The web pages of links to apps."""

import pytest
from ada_url import URL

from daemon.web.app_links import web_page_of

PLAY = "https://play.google.com/store/"
FALLBACK = "S.browser_fallback_url=https%3A%2F%2Fshop.example%2Fl%3Fa%3D1%26b%3D2"


@pytest.mark.parametrize(
    ("link", "page"),
    [
        (f"intent://p/1#Intent;scheme=app;package=com.example.app;{FALLBACK};end", "https://shop.example/l?a=1&b=2"),
        (f"intent:#Intent;{FALLBACK};end", "https://shop.example/l?a=1&b=2"),
        ("intent://shop.example/l?a=1#Intent;scheme=https;package=com.example.app;end", "https://shop.example/l?a=1"),
        ("intent://p#Intent;scheme=app;package=com.example.app;end", PLAY + "apps/details?id=com.example.app"),
        ("intent://p#Intent;package=com.a;S.browser_fallback_url=market%3A%2F%2Fx;end", PLAY + "apps/details?id=com.a"),
        ("intent://p#Intent;scheme=app;end", None),
        ("intent://p#Intent;S.browser_fallback_url=javascript%3Aa();end", None),
        ("intent://p", None),
        ("market://details?id=com.example.app&referrer=a%3D1", PLAY + "apps/details?id=com.example.app&referrer=a%3D1"),
        ("market://search?q=pub:Shop", PLAY + "search?q=pub:Shop"),
        ("market:details", None),
        ("itms-apps://apps.apple.com/app/id1?mt=8", "https://apps.apple.com/app/id1?mt=8"),
        ("itms-apps:///", None),
        ("exampleapp://open", None),
        ("javascript:a()", None),
        ("data:text/html,x", None),
    ],
)
def test_a_link_to_an_app_stands_for_a_web_page(link: str, page: str | None) -> None:
    found = web_page_of(URL(link).href)
    assert (None if found is None else found.href) == page
