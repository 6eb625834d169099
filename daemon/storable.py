"""Texts and JSON that PostgreSQL stores: its text and jsonb refuse NUL, and a lone surrogate is no UTF-8. Pure."""

import re
from typing import Any

import msgspec

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> str:
    """NUL and lone surrogates become U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def stored_json(encoder: msgspec.json.Encoder, record: Any) -> str:
    """The record in JSON, with storable texts. Numbers that are not finite become null."""
    try:
        body = encoder.encode(record)
    except UnicodeEncodeError:  # a lone surrogate
        body = encoder.encode(_with_storable_texts(msgspec.to_builtins(record, enc_hook=encoder.enc_hook)))
    if b"\\u0000" in body:
        body = encoder.encode(_with_storable_texts(msgspec.json.decode(body)))
    return body.decode()


def _with_storable_texts(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list | tuple):
        return [_with_storable_texts(item) for item in value]
    if isinstance(value, dict):
        return {_with_storable_texts(key): _with_storable_texts(item) for key, item in value.items()}
    return value
