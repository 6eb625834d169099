"""HTTP/1 of the click face without sockets: request parsing, response framing, keep-alive."""

import pytest

from daemon.http.http1 import PlainHTTP, Request, Response, response_bytes
from daemon.http.request_rules import Refusal

GET = b"GET /a?b=c HTTP/1.1\r\nHost: a.example\r\n\r\n"
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"


def request_of(data: bytes) -> Request:
    http = PlainHTTP(head_bytes_max=1_000)
    http.receive(data)
    found = http.next_request()
    assert isinstance(found, Request)
    return found


def test_a_head_may_arrive_in_any_pieces() -> None:
    http = PlainHTTP(head_bytes_max=1_000)
    for byte in GET[:-1]:
        http.receive(bytes([byte]))
        assert http.next_request() is None
        assert http.has_partial_head
    http.receive(GET[-1:])
    found = http.next_request("192.0.2.1", 1.5)
    assert found == Request("GET", "/a", b"b=c", [(b"host", b"a.example")], True, "192.0.2.1", 1.5)
    assert http.requests == 1


@pytest.mark.parametrize(
    ("request_head", "keeps"),
    [
        (GET, True),
        (GET.replace(b"1.1", b"1.0"), False),
        (GET.replace(b"Host", b"Connection: close\r\nHost"), False),
        (GET.replace(b"Host", b"Connection: Upgrade\r\nUpgrade: h2c\r\nHost"), True),
    ],
)
def test_the_request_decides_whether_the_connection_stays_open(request_head: bytes, keeps: bool) -> None:
    assert request_of(request_head).keeps is keeps


def test_a_response_has_its_length_and_says_whether_the_connection_closes() -> None:
    response = Response(200, [(b"x", b"y")], b"hello")
    head = b"HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 5\r\ndate: " + DATE + b"\r\n"
    assert response_bytes(response, DATE, keeps=True) == head + b"\r\nhello"
    assert response_bytes(response, DATE, keeps=False) == head + b"connection: close\r\n\r\nhello"
    assert response_bytes(response, DATE, keeps=True, bodiless=True) == head + b"\r\n"


@pytest.mark.parametrize("value", [b"a\r\nx: b", b"a\nb", b"a\rb", b"\0"])
def test_a_response_header_with_a_line_break_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="line break"):
        response_bytes(Response(302, [(b"location", value)]), DATE, keeps=True)


def test_pipelined_requests_come_out_in_order() -> None:
    http = PlainHTTP(head_bytes_max=1_000)
    http.receive(GET + GET.replace(b"/a", b"/next") + b"GET /third HTTP/1.1\r\n")
    paths = []
    while isinstance(found := http.next_request(), Request):
        paths.append((found.path, http.has_more))
    assert paths == [("/a", True), ("/next", False)]
    assert http.has_partial_head


def test_a_long_head_is_refused_and_many_short_ones_are_not() -> None:
    long = PlainHTTP(head_bytes_max=100)
    long.receive(b"GET /")
    long.receive(b"a" * 101)
    assert long.next_request() == Refusal(431, "the head is too long")
    http, cut = PlainHTTP(head_bytes_max=100), len(GET) // 2
    http.receive(GET[:cut])
    for _ in range(20):  # each read ends in the middle of a head
        http.receive(GET[cut:] + GET[:cut])
        assert isinstance(http.next_request(), Request)
        assert http.next_request() is None


@pytest.mark.parametrize("header", [b"Content-Length: 2", b"Transfer-Encoding: chunked"])
def test_a_body_is_refused_and_never_parsed_as_a_request(header: bytes) -> None:
    http = PlainHTTP(head_bytes_max=1_000)
    http.receive(b"PUT / HTTP/1.1\r\nHost: a\r\n" + header + b"\r\n\r\n" + GET)
    assert http.next_request() == Refusal(413, "a request with a body")


@pytest.mark.parametrize("header", [b"Content-Length: 2", b"Content-Length: 99999999", b"Transfer-Encoding: chunked"])
def test_the_connection_ends_with_the_answer_to_a_post_with_a_body(header: bytes) -> None:
    http = PlainHTTP(head_bytes_max=1_000)
    http.receive(b"POST /?a HTTP/1.1\r\nHost: a\r\n" + header + b"\r\n\r\n" + GET)
    request = http.next_request()
    assert isinstance(request, Request)
    assert (request.method, request.query, request.keeps) == ("POST", b"a", False)


def test_a_post_without_a_body_keeps_the_connection() -> None:
    http = PlainHTTP(head_bytes_max=1_000)
    http.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" + GET)
    assert [getattr(http.next_request(), "keeps", None) for _ in range(2)] == [True, True]


def test_an_answer_without_content_has_no_length() -> None:
    assert b"content-length" not in response_bytes(Response(204), b"now", keeps=True)
    assert b"content-length: 0" in response_bytes(Response(302), b"now", keeps=True)


@pytest.mark.parametrize("target", [b"/x?a=1#top", b"/x?a=1#", b"/x?a=1#?b#c", b"http://a/x?a=1#top"])
def test_a_fragment_is_cut_off(target: bytes) -> None:
    http = PlainHTTP(head_bytes_max=1_000)
    http.receive(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    request = http.next_request()
    assert isinstance(request, Request)
    assert (request.path, request.query) == ("/x", b"a=1")


def test_an_end_within_a_request_is_refused_and_one_between_requests_is_not() -> None:
    http = PlainHTTP(head_bytes_max=1_000)
    http.receive(b"GET /")
    http.receive(b"")
    assert isinstance(http.next_request(), Refusal)
    http = PlainHTTP(head_bytes_max=1_000)
    http.receive(GET)
    http.receive(b"")
    assert isinstance(http.next_request(), Request)
    assert http.next_request() is None


def test_an_upgrade_is_ignored_and_what_follows_is_the_next_request() -> None:
    http = PlainHTTP(head_bytes_max=1_000)
    http.receive(GET.replace(b"Host", b"Connection: Upgrade\r\nUpgrade: h2c\r\nHost") + GET)
    assert isinstance(http.next_request(), Request)
    assert isinstance(http.next_request(), Request)
