"""Writes a small MaxMind DB file (format 2.0), for the tests of click.country_file."""

import ipaddress
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

UINT16, UINT32, MAP, UINT64, ARRAY = 5, 6, 7, 9, 11
OF_METADATA = {"node_count": UINT32, "build_epoch": UINT64}  # other numbers there are UINT16
Value = str | int | list[Any] | dict[str, Any]


def write_mmdb(file: Path, records: Mapping[str, Value], *, kind: str = "Test-Country") -> None:
    """`records`: data by network. IPv4 networks are below ::/96, as in files of MaxMind. The file is replaced."""
    tree: list[list[Any]] = [[None, None]]
    for text, value in records.items():
        network = ipaddress.ip_network(text)
        bits = int(network.network_address)
        length = network.prefixlen + (96 if network.version == 4 else 0)
        node = 0
        for depth in range(length - 1):
            side = bits >> (127 - depth) & 1
            if not isinstance(tree[node][side], int):
                tree.append([None, None])
                tree[node][side] = len(tree) - 1
            node = tree[node][side]
        tree[node][bits >> (128 - length) & 1] = (value,)
    data, offsets = b"", {}
    for value in records.values():
        if repr(value) not in offsets:
            offsets[repr(value)] = len(data)
            data += _encoded(value)

    def record(side: Any) -> bytes:
        if side is None:
            number = len(tree)
        elif isinstance(side, int):
            number = side
        else:
            number = len(tree) + 16 + offsets[repr(side[0])]
        return struct.pack(">I", number)

    metadata: dict[str, Value] = {
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1_700_000_000,
        "database_type": kind,
        "description": {"en": "a test"},
        "ip_version": 6,
        "languages": ["en"],
        "node_count": len(tree),
        "record_size": 32,
    }
    search = b"".join(record(side) for node in tree for side in node)
    fresh = file.with_name(f"{file.name}.new")
    fresh.write_bytes(search + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + _encoded(metadata))
    fresh.replace(file)


def _encoded(value: Value, kind: int = UINT16) -> bytes:
    if isinstance(value, str):
        raw = value.encode()
        return _control(2, len(raw)) + raw
    if isinstance(value, int):
        raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
        return _control(kind, len(raw)) + raw
    if isinstance(value, list):
        return _control(ARRAY, len(value)) + b"".join(map(_encoded, value))
    items = (_encoded(key) + _encoded(item, OF_METADATA.get(key, UINT16)) for key, item in value.items())
    return _control(MAP, len(value)) + b"".join(items)


def _control(kind: int, size: int) -> bytes:
    assert size < 29
    return bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])
