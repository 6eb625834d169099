"""Strict decoding of JSON from outside (RFC 8259): UTF-8, no lone surrogates, no NaN, bounded nesting. Pure."""

from typing import Any

import msgspec


def decode_json(text: bytes | str) -> Any:
    """Raises ValueError with the reason. The interpreter's recursion limit bounds the nesting."""
    if not text:
        raise ValueError("it is empty")
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except msgspec.DecodeError as e:
        raise ValueError(str(e)) from None
