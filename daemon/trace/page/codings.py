"""Incremental decoders of content codings, within a bound: gzip, deflate, br and zstd (RFC 9110, 8.4.1). Pure.

A decoder returns at most `bytes_max` in all, the bytes that are read of a page. A decoder with malformed data, or with
more than `bytes_max`, is `broken`: reading ends there. The same bound holds for nested codings.

Memory and time are bounded too: each decoder returns once it has filled a buffer of 32 KB (deflate), one block of at
most 128 KB (zstd), or a ring buffer of its window's size (br).
"""

import zlib
from collections.abc import Callable
from typing import Any

import brotli

try:
    from backports import zstd
except ImportError:  # Python 3.14 has it in the standard library
    from compression import zstd  # type: ignore[import-not-found, no-redef]

_ZSTD_WINDOW_LOG_MAX = 23  # 8 MB: RFC 9659
_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG_MAX}
BROTLI_BYTES_MAX = 2**18 - 16  # the size of a window of 18 bits (RFC 7932, 9.1)
_BROTLI_PIECE_BYTES = 1_024


class Decoder:
    """`feed` returns at most `bytes_max` in all. Data after the first member or frame is ignored.

    `decompressor`: of zlib or zstd.
    """

    def __init__(self, bytes_max: int, decompressor: Any) -> None:
        self.broken = False
        self._room = bytes_max
        self._decompressor = decompressor

    def feed(self, data: bytes) -> bytes:
        if self.broken or not data:
            return b""
        try:
            # One byte more than the bound shows whether the data ends here.
            decoded = self._decoded(data, self._room + 1)
        except (zlib.error, brotli.error, zstd.ZstdError):
            self.broken = True
            return b""
        if len(decoded) > self._room:
            self.broken = True
            decoded = decoded[: self._room]
        self._room -= len(decoded)
        return decoded

    def _decoded(self, data: bytes, bytes_max: int) -> bytes:
        """`bytes_max` decoded bytes or a few more; fewer if the data has fewer."""
        found: bytes = b"" if self._decompressor.eof else self._decompressor.decompress(data, bytes_max)
        return found


class Gzip(Decoder):
    """RFC 1952. What comes before an error counts: browsers ignore a wrong checksum or length at the end."""

    def __init__(self, bytes_max: int, window_bits: int = 16 + zlib.MAX_WBITS) -> None:
        super().__init__(bytes_max, zlib.decompressobj(window_bits))

    def _decoded(self, data: bytes, bytes_max: int) -> bytes:
        before = self._decompressor.copy()
        try:
            return super()._decoded(data, bytes_max)
        except zlib.error:
            self.broken = True
            return _before_error(before, data, bytes_max)


def _before_error(decompressor: Any, data: bytes, bytes_max: int) -> bytes:
    """What the longest part of `data` without an error decodes to, by halving."""
    found, good, bad = b"", 0, len(data)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            found = decompressor.copy().decompress(data[:middle], bytes_max)
            good = middle
        except zlib.error:
            bad = middle
    return found


class Deflate(Gzip):
    """In the zlib format, as RFC 9110 requires, or without its header, as some servers send it."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(bytes_max, zlib.MAX_WBITS)
        self._header = b""

    def _decoded(self, data: bytes, bytes_max: int) -> bytes:
        if len(self._header) < 2:
            self._header = data = self._header + data
            if len(data) < 2:
                return b""
            if data[0] & 0x0F != 8 or int.from_bytes(data[:2], "big") % 31:
                self._decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
        return super()._decoded(data, bytes_max)


class Brotli(Decoder):
    """RFC 7932, with the window in the stream's header lowered to 256 KB.

    The decoder fills a ring buffer of the window's size before it returns anything: 16 MB from 60 bytes, in 26 ms. The
    first BROTLI_BYTES_MAX bytes are the same with either window: a distance above the bytes so far means the static
    dictionary (RFC 7932, 4).
    """

    def __init__(self, bytes_max: int) -> None:
        super().__init__(bytes_max, brotli.Decompressor())
        assert bytes_max < BROTLI_BYTES_MAX
        self._begun = False

    def _decoded(self, data: bytes, bytes_max: int) -> bytes:
        if not self._begun:
            self._begun = True
            data = bytes((_with_small_window(data[0]),)) + data[1:]
        decoded = bytearray()
        for at in range(0, len(data), _BROTLI_PIECE_BYTES):
            if len(decoded) >= bytes_max or self._decompressor.is_finished():
                break
            piece = data[at : at + _BROTLI_PIECE_BYTES]
            decoded += self._decompressor.process(piece, output_buffer_limit=bytes_max - len(decoded))
        return bytes(decoded)


def _with_small_window(first: int) -> int:
    """The first byte of a brotli stream, with a window of 19 to 24 bits lowered to 18.

    The four low bits of such a window are `nnn1`, for 17 + n bits (RFC 7932, 9.1).
    """
    return first & 0xF0 | 0b0011 if first & 1 and first >> 1 & 0b111 > 1 else first


def _zstd(bytes_max: int) -> Decoder:
    return Decoder(bytes_max, zstd.ZstdDecompressor(options=_ZSTD_OPTIONS))


CODINGS: dict[str, Callable[[int], Decoder]] = {
    "gzip": Gzip, "x-gzip": Gzip, "deflate": Deflate, "br": Brotli, "zstd": _zstd
}  # fmt: skip
