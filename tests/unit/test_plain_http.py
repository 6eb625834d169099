"""HTTP as a server speaks it, without sockets: how an answer is framed, and what keeps a connection open."""

import pytest

from daemon.http.http1 import PlainHTTP, Refused, Request, Sign

GET = b"GET /a?b=c HTTP/1.1\r\nHost: a.example\r\n\r\n"


def served(data: bytes, *, head_bytes_max: int = 1_000, body_bytes_max: int = 100) -> PlainHTTP:
    """After a whole request, which waits for its answer."""
    http = PlainHTTP(head_bytes_max=head_bytes_max, body_bytes_max=body_bytes_max)
    http.receive(data)
    assert isinstance(http.next_event(), Request)
    assert http.next_event() is Sign.BODY_ENDED
    return http


def read_on(http: PlainHTTP) -> None:
    while http.next_event() not in (Sign.NEED_DATA, Sign.CLOSED):
        continue


def answer(http: PlainHTTP, *parts: bytes, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    return b"".join([http.head(status, headers), *map(http.body, parts), http.end()])


def test_a_head_comes_in_whatever_pieces() -> None:
    http = PlainHTTP(head_bytes_max=1_000, body_bytes_max=0)
    for byte in GET[:-1]:
        http.receive(bytes([byte]))
        assert http.next_event() is Sign.NEED_DATA
        assert http.has_partial_head
    http.receive(GET[-1:])
    event = http.next_event()
    assert event == Request("GET", b"/a?b=c", "1.1", [(b"host", b"a.example")], keeps=True)
    assert not http.requests > 1


@pytest.mark.parametrize(
    ("request_head", "headers", "expected", "goes_on"),
    [
        (GET, ((b"content-length", b"5"),), b"content-length: 5\r\n\r\nhello", True),
        (GET, (), b"transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", True),
        (GET.replace(b"1.1", b"1.0"), (), b"connection: close\r\n\r\nhello", False),
        (
            GET.replace(b"Host", b"Connection: close\r\nHost"),
            ((b"content-length", b"5"),),
            b"content-length: 5\r\nconnection: close\r\n\r\nhello",
            False,
        ),
        (
            GET,
            ((b"content-length", b"5"), (b"connection", b"close")),
            b"content-length: 5\r\nconnection: close\r\n\r\nhello",
            False,
        ),
    ],
)
def test_an_answer_says_where_it_ends(
    request_head: bytes, headers: tuple[tuple[bytes, bytes], ...], expected: bytes, goes_on: bool
) -> None:
    http = served(request_head)
    assert answer(http, b"he", b"llo", headers=headers) == b"HTTP/1.1 200 OK\r\n" + expected
    assert http.begin_next() is goes_on


def test_what_has_no_body_has_none() -> None:
    head = GET.replace(b"GET", b"HEAD")
    assert answer(served(head), headers=((b"content-length", b"5"),)) == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
    assert answer(served(GET), status=204) == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert served(head).bare(503, [], b"why").endswith(b"content-length: 3\r\nconnection: close\r\n\r\n")


def test_an_answer_that_cannot_be_sent_is_refused() -> None:
    for length, parts in ((b"4", (b"hello",)), (b"6", (b"hello",))):
        with pytest.raises(ValueError, match="than it said"):
            answer(served(GET), *parts, headers=((b"content-length", length),))
    for value in (b"a\r\nx: b", b"a\nb", b"\0"):
        with pytest.raises(ValueError, match="line break"):
            served(GET).head(302, [(b"location", value)])


def test_the_next_request_waits_for_the_answer() -> None:
    http = served(GET + GET.replace(b"/a", b"/next") + b"GET /third HTTP/1.1\r\n")
    assert http.next_event() is Sign.PAUSED
    answer(http, headers=((b"content-length", b"0"),))
    assert http.begin_next()
    event = http.next_event()
    assert isinstance(event, Request)
    assert event.target == b"/next?b=c"


def test_a_long_head_is_refused_and_many_short_ones_are_not() -> None:
    long = PlainHTTP(head_bytes_max=100, body_bytes_max=0)
    long.receive(b"GET /")
    long.receive(b"a" * 101)
    with pytest.raises(Refused) as refused:
        long.next_event()
    assert refused.value.status == 431
    http, cut = PlainHTTP(head_bytes_max=100, body_bytes_max=0), len(GET) // 2
    http.receive(GET[:cut])
    for _ in range(20):  # each read ends in the middle of a head
        http.receive(GET[cut:] + GET[:cut])
        assert isinstance(http.next_event(), Request)
        assert http.next_event() is Sign.BODY_ENDED
        answer(http, headers=((b"content-length", b"0"),))
        assert http.begin_next()


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked_once() -> None:
    http = PlainHTTP(head_bytes_max=1_000, body_bytes_max=100)
    http.receive(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert isinstance(http.next_event(), Request)
    assert http.next_event() is Sign.NEED_DATA
    assert http.go_on() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert http.go_on() == b""
    http.receive(b"ab")
    assert (http.next_event(), http.next_event()) == (b"ab", Sign.BODY_ENDED)


def test_an_end_in_the_middle_is_refused_and_one_between_requests_is_none() -> None:
    for before in (b"GET /", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na"):
        http = PlainHTTP(head_bytes_max=1_000, body_bytes_max=100)
        http.receive(before)
        http.receive(b"")
        with pytest.raises(Refused):
            read_on(http)
    http = served(GET)
    http.receive(b"")
    assert http.next_event() is Sign.CLOSED
