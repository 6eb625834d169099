"""The MIME type of an answer, from all its fields."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.trace.page.content_types import ContentType, content_type_of, is_attachment, is_sniffed

NONE = ContentType()


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ([], NONE),
        (["text/html"], ContentType("text/html")),
        (["TEXT/HTML ;Charset=utf-8"], ContentType("text/html", "utf-8")),
        (['text/html;charset="a\\"b"x;charset=c'], ContentType("text/html", 'a"b')),
        (["text/html;charset=;x;charset=utf-8"], ContentType("text/html", "utf-8")),
        (['text/html;a="charset=b;";charset=c'], ContentType("text/html", "c")),
        (["text/html,"], ContentType("text/html")),
        ([", text/html"], ContentType("text/html")),
        (["text/html, text/plain"], ContentType("text/plain")),
        (["text/html", "text/plain"], ContentType("text/plain")),
        (["text/plain", "text/html"], ContentType("text/html")),
        (['text/html;a="', "text/plain"], ContentType("text/html")),
        (['text/html;"', "text/plain"], ContentType("text/html")),
        (["text/html", "*/*"], ContentType("text/html")),
        (["text/html", "nonsense"], ContentType("text/html")),
        (["text/html;charset=a", "text/html;b"], ContentType("text/html", "a")),
        (["text/plain;charset=a", "text/html"], ContentType("text/html")),
        (["*/*"], NONE),
        (["unknown/unknown"], NONE),
        (["application/unknown;charset=a"], NONE),
        (["html"], NONE),
        (["text/ html"], NONE),
        (["text html/x"], NONE),
    ],
)
def test_the_last_valid_type_counts(fields: list[str], found: ContentType) -> None:
    assert content_type_of([(b"Content-Type", field.encode()) for field in fields]) == found


@given(st.lists(st.text(st.sampled_from('ab/;=", \\*'), max_size=40).map(str.encode) | st.binary(max_size=40)))
def test_no_field_raises(fields: list[bytes]) -> None:
    for name in (b"content-type", b"content-disposition", b"x-content-type-options"):
        headers = [(name, field) for field in fields]
        content_type_of(headers), is_attachment(headers), is_sniffed(headers)


@pytest.mark.parametrize("part", ['"', "a,", ";", '"\\', "a=b;", ' "', '";'])
def test_a_long_field_is_read_in_linear_time(part: str) -> None:
    content_type_of([(b"content-type", b"text/html;" + part.encode() * 30_000)])
