"""JSON from outside as RFC 8259 has it: UTF-8, no lone surrogates, no NaN, not nested without end. Pure."""

from typing import Any

import msgspec


def decode_json(text: bytes | str) -> Any:
    """Raises ValueError with the reason. The nesting is bounded by the interpreter's recursion limit."""
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except msgspec.DecodeError as e:
        raise ValueError(str(e)) from None
