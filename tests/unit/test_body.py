"""Bodies of HTML answers: which are read, how they are decoded, and where reading ends."""

import gzip
import random
import zlib
from collections.abc import Callable

import brotli
import psutil
import pytest
from ada_url import URL
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from daemon.trace.page.body import FirstBytes, PageBody, page_body
from daemon.trace.page.codings import CODINGS, Brotli

URL_HERE = URL("http://ads.example/")
BYTES_MAX = 16_384
META = b"<meta http-equiv=refresh content='0;/a'>"
PADDING = b"<style>" + bytes(random.Random(1).choices(b"abcdefghij{}:;", k=3_000)) + b"</style>"
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
    "": bytes,
    "identity": bytes,
}


def body(*headers: tuple[str, str], bytes_max: int = BYTES_MAX) -> PageBody | None:
    raw = tuple((name.encode(), value.encode("latin-1")) for name, value in headers)
    return page_body(URL_HERE, raw, bytes_max, 10)


def html(coding: str = "", *, bytes_max: int = BYTES_MAX) -> PageBody:
    found = body(("Content-Type", "text/html"), ("Content-Encoding", coding), bytes_max=bytes_max)
    assert found is not None
    return found


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize(
    "content_type", ["text/html", "TEXT/HTML;charset=x", "application/xhtml+xml", " text/html ; a=b", None, ""]
)
def test_html_is_read(content_type: str | None) -> None:
    assert body(*([] if content_type is None else [("Content-Type", content_type)])) is not None


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/json", "image/png", "application/octet-stream", "text/html2", "application/pdf"],
)
def test_no_other_type_is_read_at_all(content_type: str) -> None:
    assert body(("Content-Type", content_type)) is None


def test_an_attachment_is_not_read() -> None:
    assert body(("Content-Type", "text/html"), ("Content-Disposition", "Attachment; filename=a.html")) is None
    assert body(("Content-Type", "text/html"), ("Content-Disposition", "inline")) is not None


@pytest.mark.parametrize("content_type", [None, "*/*", "unknown/unknown", "application/unknown", "html", "text/", "/"])
def test_a_body_without_a_valid_type_is_sniffed_unless_the_answer_forbids_it(content_type: str | None) -> None:
    headers = [] if content_type is None else [("Content-Type", content_type)]
    read = body(*headers)
    assert read is not None
    read.feed(b"<p>" + META)
    read.end(whole=True)
    assert read.page.jump is not None
    assert body(*headers, ("X-Content-Type-Options", "NoSniff, x")) is None
    assert body(("Content-Type", "text/html"), ("X-Content-Type-Options", "nosniff")) is not None


@pytest.mark.parametrize("coding", ["compress", "gzip, x", "gzip, gzip, gzip", "aes128gcm"])
def test_a_body_of_an_unknown_coding_is_not_read(coding: str) -> None:
    assert body(("Content-Type", "text/html"), ("Content-Encoding", coding)) is None


@pytest.mark.parametrize("coding", ENCODERS)
@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_each_coding_is_decoded_in_pieces_of_any_size(coding: str, piece: int) -> None:
    read = html(coding)
    encoded = ENCODERS[coding](PADDING + META)
    for at in range(0, len(encoded), piece):
        read.feed(encoded[at : at + piece])
    read.end(whole=True)
    assert read.page.jump is not None
    assert read.page.jump.url == "http://ads.example/a"


@pytest.mark.parametrize("piece", [1, 100_000])
def test_deflate_without_a_header_is_decoded_too(piece: int) -> None:
    read = html("deflate")
    encoded = raw_deflate(PADDING + META)
    for at in range(0, len(encoded), piece):
        read.feed(encoded[at : at + piece])
    read.end(whole=True)
    assert read.page.jump is not None


def test_nested_codings_are_decoded_from_the_outside() -> None:
    read = html("br, gzip")
    read.feed(gzip.compress(brotli.compress(META)))
    read.end(whole=True)
    assert read.page.jump is not None


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
def test_a_decompression_bomb_returns_no_more_than_the_bound(coding: str) -> None:
    bomb = b"<title>" + bytes(10_000_000)
    for part in coding.split(", "):
        bomb = ENCODERS[part](bomb)
    read = html(coding)
    read.feed(bomb[:1_000])
    read.feed(bomb[1_000:])
    assert read.enough
    assert read.page.jump is None


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("wrong", [b"\0" * 4, b"", b"\0" * 20])
def test_a_wrong_checksum_at_the_end_does_not_matter(coding: str, wrong: bytes) -> None:
    read = html(coding)
    read.feed(ENCODERS[coding](META)[:-4] + wrong)
    read.end(whole=True)
    assert read.page.jump is not None


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_broken_or_cut_body_is_read_up_to_there(coding: str) -> None:
    encoded = ENCODERS[coding](META + PADDING)
    for spoilt in (encoded[: len(encoded) // 2], b"\xff\xfe nonsense" * 20, b""):
        read = html(coding)
        read.feed(spoilt)
        read.end(whole=True)
        assert read.enough
    read = html(coding)
    read.feed(encoded[: len(encoded) - 20])
    read.end(whole=False)
    if coding == "gzip":
        assert read.page.jump is not None


def test_a_page_is_read_up_to_the_bound_and_no_further() -> None:
    inside, beyond = html(bytes_max=4_096), html(bytes_max=4_096)
    inside.feed(b"<!--" + b"x" * (4_096 - len(META) - 7) + b"-->" + META + b"<p>" * 100)
    beyond.feed(b"<!--" + b"x" * (4_096 - len(META) - 6) + b"-->" + META + b"<p>" * 100)
    assert inside.enough
    assert beyond.enough
    assert inside.page.jump is not None
    assert beyond.page.jump is None


def test_reading_goes_on_after_a_refresh_unless_the_page_is_slow() -> None:
    read = html()
    read.feed(META + PADDING)
    assert not read.enough
    read.look(slow=True)
    assert read.enough
    assert read.page.jump is not None


def test_a_page_with_a_script_is_read_to_its_end() -> None:
    read = html()
    read.feed(META + b"<script>location = '/b'</script>" + PADDING)
    assert not read.enough
    read.end(whole=True)
    assert read.page.jump is None
    assert read.page.document is not None
    assert (read.page.document.whole, read.page.document.encoding) == (True, "windows-1252")
    assert read.page.document.data.endswith(PADDING)


def test_the_document_of_a_page_that_was_cut_says_so() -> None:
    read = html(bytes_max=1_024)
    read.feed(b"<script>location = '/b'</script>" + PADDING)
    assert read.enough
    assert read.page.document is not None
    assert (read.page.document.whole, len(read.page.document.data)) == (False, 1_024)


def test_a_few_words_end_the_reading_only_of_a_slow_page() -> None:
    read = html()
    read.feed(b"<p>You are being redirected.")
    read.look(slow=False)
    assert not read.enough
    read.look(slow=True)
    assert read.enough


def test_a_head_that_goes_on_slowly_is_waited_for() -> None:
    read = html()
    read.feed(b"<title>Shop</title>")
    read.look(slow=True)
    assert not read.enough


def test_a_jump_behind_much_text_is_found_up_to_the_bound() -> None:
    read = html()
    read.feed(b"<p>" + b"You will be redirected in a moment. " * 100)
    read.look(slow=False)
    read.feed(b"<div class=dot></div>" * 300)
    assert not read.enough
    read.feed(META)
    read.end(whole=True)
    assert read.page.jump is not None


def test_a_slow_page_with_a_script_is_awaited_unless_it_shows_much() -> None:
    read = html()
    read.feed(b"<body onload='document.forms[0].submit()'>" + b"Please wait. " * 20 + b"<form><input name=a>")
    read.look(slow=True)
    assert not read.enough
    read.feed(b"Our offers of this week. " * 40)
    read.look(slow=False)
    assert not read.enough
    read.look(slow=True)
    assert read.enough


@pytest.mark.parametrize("page", [b"<!DOCTYPE html>", b"\n <HTML>", b"<head >", b"<body >", b"<!-- x -->", b"<p>"])
def test_a_body_without_a_type_is_read_if_it_begins_with_markup(page: bytes) -> None:
    read = body()
    assert read is not None
    read.feed(page + META)
    read.end(whole=True)
    assert read.page.jump is not None


@pytest.mark.parametrize(
    "page", [b"hello ", b'{"a": 1}', b"\x89PNG\r\n\x1a\n", b"<?xml version='1.0'?>", b"<paragraph>", b""]
)
@pytest.mark.parametrize("more", [b"", b" " * 100])
def test_a_body_without_a_type_or_markup_is_not_read(page: bytes, more: bytes) -> None:
    read = body()
    assert read is not None
    read.feed(page + more + META)
    if more:
        assert read.enough
    read.end(whole=True)
    assert read.page.jump is None


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "br", "zstd", "", "gzip, br"]), st.integers(1, 300))
def test_no_body_raises(data: bytes, coding: str, piece: int) -> None:
    read = html(coding, bytes_max=200)
    for at in range(0, len(data), piece):
        if not read.enough:
            read.feed(data[at : at + piece])
            read.look(slow=False)
    read.end(whole=True)
    assert read.enough


def test_first_bytes_are_the_first_bytes() -> None:
    read = FirstBytes(5)
    read.feed(b"abc")
    assert not read.enough
    read.feed(b"def")
    assert (read.enough, read.data) == (True, b"abcde")


@pytest.mark.parametrize("bits", range(10, 25))
@pytest.mark.parametrize("piece", [1, 100, 100_000])
def test_a_brotli_page_is_the_same_whatever_the_window(bits: int, piece: int) -> None:
    """The window in the header is lowered, and the bytes that are read of a page fit into the lower one."""
    rng = random.Random(bits)
    words = [bytes(rng.choices(b"abcdefgh", k=12)) for _ in range(2_000)]
    page = b"".join(rng.choices(words, k=40_000))  # 480 KB, with matches at all distances
    encoded = brotli.compress(page, quality=9, lgwin=bits)
    decoder = Brotli(65_536)
    decoded = b"".join(decoder.feed(encoded[at : at + piece]) for at in range(0, len(encoded), piece))
    assert decoded == page[:65_536]
    assert decoder.broken


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("piece", [1, 64, 100_000])
def test_a_decoder_returns_no_more_than_its_bound_in_all(coding: str, piece: int) -> None:
    encoded = ENCODERS[coding](bytes(5_000_000))
    decoder = CODINGS[coding](1_000)
    assert sum(len(decoder.feed(encoded[at : at + piece])) for at in range(0, len(encoded), piece)) == 1_000
    assert decoder.broken


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_page_as_long_as_the_bound_is_whole(coding: str) -> None:
    encoded, decoder = ENCODERS[coding](bytes(1_000)), CODINGS[coding](1_000)
    assert len(decoder.feed(encoded) + decoder.feed(b"behind the end")) == 1_000
    assert not decoder.broken


@pytest.mark.parametrize("bits", [16, 22, 24])
def test_a_brotli_bomb_takes_little_memory(bits: int) -> None:
    """The decoder's memory is not Python's, so the memory of the process is measured."""
    bomb = brotli.compress(bytes(20_000_000), quality=5, lgwin=bits)
    process = psutil.Process()
    before = process.memory_info().rss
    decoders = [Brotli(BYTES_MAX) for _ in range(20)]
    for decoder in decoders:
        decoder.feed(bomb)
    assert process.memory_info().rss - before < len(decoders) * 1_000_000
