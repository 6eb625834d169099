"""The browser's parts that need no browser: which offers start there, its errors, and the forwarder's messages."""

import pytest

from daemon.trace.browser.messages import Answer, NotHttp, asked_in
from daemon.trace.browser.needs import OFFERS_MAX, PROBED_EACH, TRACES_MIN, Needs
from daemon.trace.browser.net_errors import failure_of_error
from daemon.trace.walk.verdicts import Failure, Phase
from daemon.trace.wire.connection import Target


def needing(count: int = TRACES_MIN) -> Needs:
    needs = Needs()
    for _ in range(count):
        assert needs.reason("shoes") is None
        needs.note("shoes", "fetch")
    return needs


def test_an_offer_starts_in_the_browser_after_traces_in_a_row_that_needed_it() -> None:
    needs = needing(TRACES_MIN - 1)
    assert needs.reason("shoes") is None
    needs.note("shoes", "crypto.subtle")
    assert needs.reason("shoes") == f"the offer's last {TRACES_MIN} traces without the browser needed it: crypto.subtle"
    assert (needs.reason("boots"), needs.reason(None)) == (None, None)


def test_a_trace_that_does_without_the_browser_ends_the_row() -> None:
    needs = needing(TRACES_MIN - 1)
    needs.note("shoes", None)
    needs.note("shoes", "fetch")
    assert needs.reason("shoes") is None


def test_now_and_then_such_an_offer_is_tried_without_the_browser() -> None:
    needs = needing()
    tried = [needs.reason("shoes") is None for _ in range(2 * PROBED_EACH)]
    assert [number for number, without in enumerate(tried, 1) if without] == [PROBED_EACH, 2 * PROBED_EACH]
    needs.note("shoes", None)
    assert needs.reason("shoes") is None


def test_the_offers_that_are_remembered_are_bounded() -> None:
    needs = needing()
    for number in range(OFFERS_MAX):
        needs.note(str(number), "fetch")
    assert needs.reason("shoes") is None


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        ("net::ERR_CERT_DATE_INVALID", (Phase.TLS, Failure.CERTIFICATE)),
        ("net::ERR_SSL_PROTOCOL_ERROR", (Phase.TLS, Failure.TLS)),
        ("net::ERR_EMPTY_RESPONSE", (Phase.BEHIND, Failure.CLOSED)),
        ("net::ERR_RESPONSE_HEADERS_TOO_BIG", (Phase.BEHIND, Failure.HEAD_TOO_LARGE)),
        ("net::ERR_SOMETHING_NEW", (Phase.BEHIND, Failure.RESET)),
    ],
)
def test_an_error_of_the_browser_is_a_failure_of_the_target(error: str, meaning: tuple[Phase, Failure]) -> None:
    assert failure_of_error(error) == meaning


def test_a_request_goes_to_a_proxy_in_absolute_form_and_to_a_target_in_origin_form() -> None:
    asked = asked_in(
        b"POST http://shop.example:8080/a?b HTTP/1.1\r\nHost: shop.example:8080\r\nProxy-Authorization: Basic x\r\n"
        b"Proxy-Connection: keep-alive\r\nContent-Length: 3"
    )
    assert (asked.target, asked.authorization, asked.body_bytes) == (Target("shop.example", 8080, False), b"Basic x", 3)
    kept = b"Host: shop.example:8080\r\nContent-Length: 3\r\n"
    login = b"Proxy-Authorization: Basic y\r\n"
    assert asked.head(login) == b"POST http://shop.example:8080/a?b HTTP/1.1\r\n" + kept + login + b"\r\n"
    assert asked.head(None) == b"POST /a?b HTTP/1.1\r\n" + kept + b"\r\n"


@pytest.mark.parametrize(
    ("line", "target"),
    [
        (b"CONNECT shop.example:443 HTTP/1.1", Target("shop.example", 443, False)),
        (b"CONNECT [2001:db8::7]:8443 HTTP/1.1", Target("[2001:db8::7]", 8443, False)),
        (b"GET http://shop.example/ HTTP/1.1", Target("shop.example", 80, False)),
        (b"GET http://[2001:db8::7]/ HTTP/1.1", Target("[2001:db8::7]", 80, False)),
    ],
)
def test_a_request_names_its_target(line: bytes, target: Target) -> None:
    assert asked_in(line).target == target


@pytest.mark.parametrize(
    "head", [b"", b"GET / HTTP/1.1", b"GET https://shop.example/ HTTP/1.1", b"GET http:/// HTTP/1.1"]
)
def test_what_is_no_request_to_a_proxy_is_refused(head: bytes) -> None:
    with pytest.raises(NotHttp):
        asked_in(head)


def test_an_answer_ends_where_its_length_says_and_a_strange_one_with_its_connection() -> None:
    answer = Answer(b"GET")
    for piece in (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-", b"Length: 3\r\n\r\nab"):
        answer.feed(piece)
    assert (answer.status, answer.complete, answer.whole) == (200, True, False)
    answer.feed(b"c")
    assert (answer.whole, answer.kept) == (True, True)
    headless = Answer(b"HEAD")
    headless.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
    assert (headless.whole, headless.kept) == (True, False)
    strange = Answer(b"GET")
    strange.feed(b"HTTP/1.1 abc\r\n\r\n")
    assert (strange.complete, strange.whole, strange.kept) == (True, False, False)
    with pytest.raises(NotHttp):
        Answer(b"GET").feed(b"SSH-2.0-x\r\n")
