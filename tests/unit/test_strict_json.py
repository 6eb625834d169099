"""JSON from outside: accepted documents, and refusals with a reason."""

import pytest

from daemon.web.strict_json import decode_json


def test_a_document_is_decoded() -> None:
    assert decode_json('{"a": [1, 2.5, null, "ü\\ud83d\\ude00"]}'.encode()) == {"a": [1, 2.5, None, "ü😀"]}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"{} x",
        b"NaN",
        b"[Infinity]",
        b"1e999",
        b"01",
        b"{'a': 1}",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'{"\\udc00": 1}',
        b'"a\nb"',
        "\ufeff{}".encode(),
    ],
)
def test_what_is_not_json_is_refused_with_a_reason(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode_json(text)


@pytest.mark.parametrize("text", [b"[" * 200_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000])
def test_a_document_that_nests_without_end_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        decode_json(text)
    assert decode_json(b"[" * 200 + b"]" * 200)
