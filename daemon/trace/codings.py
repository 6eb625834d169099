"""Content codings undone piece by piece and within a bound: gzip, deflate, br and zstd (RFC 9110, 8.4.1). Pure.

A piece of data gives at most `bytes_max`; a decoder that would give more is as `broken` as one whose data is. Reading
ends there, so that nothing of it is kept.
"""

import zlib

import brotli

try:
    from backports import zstd
except ImportError:  # from Python 3.14 on it belongs to the standard library
    from compression import zstd  # type: ignore[import-not-found, no-redef]

_ZSTD_WINDOW_LOG_MAX = 23  # 8 MB: RFC 9659
_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG_MAX}


class Gzip:
    """With a header of gzip's own, and what comes after the first member passed over."""

    def __init__(self, wbits: int = 31) -> None:
        self.broken = False
        self._inflate = zlib.decompressobj(wbits)

    def feed(self, data: bytes, bytes_max: int) -> bytes:
        if self.broken:
            return b""
        try:
            decoded = self._inflate.decompress(data, bytes_max)
        except zlib.error:
            self.broken = True
            return b""
        self.broken = bool(self._inflate.unconsumed_tail)
        return decoded


class Deflate(Gzip):
    """In zlib's format, as it should be, or without its header, as some servers send it."""

    def __init__(self) -> None:
        super().__init__(zlib.MAX_WBITS)
        self._header = b""

    def feed(self, data: bytes, bytes_max: int) -> bytes:
        if len(self._header) < 2:
            self._header = data = self._header + data
            if len(data) < 2:
                return b""
            if data[0] & 0x0F != 8 or int.from_bytes(data[:2], "big") % 31:
                self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        return super().feed(data, bytes_max)


class Brotli:
    def __init__(self) -> None:
        self.broken = False
        self._decompressor = brotli.Decompressor()

    def feed(self, data: bytes, bytes_max: int) -> bytes:
        if self.broken or self._decompressor.is_finished():
            return b""
        try:
            decoded: bytes = self._decompressor.process(data, output_buffer_limit=bytes_max)
        except brotli.error:
            self.broken = True
            return b""
        self.broken = not self._decompressor.can_accept_more_data()
        return decoded[:bytes_max]


class Zstd:
    def __init__(self) -> None:
        self.broken = False
        self._decompressor = zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)

    def feed(self, data: bytes, bytes_max: int) -> bytes:
        if self.broken or self._decompressor.eof:
            return b""
        try:
            decoded: bytes = self._decompressor.decompress(data, bytes_max)
        except zstd.ZstdError:
            self.broken = True
            return b""
        self.broken = not (self._decompressor.needs_input or self._decompressor.eof)
        return decoded


Decoder = Gzip | Brotli | Zstd

CODINGS: dict[str, type[Decoder]] = {"gzip": Gzip, "x-gzip": Gzip, "deflate": Deflate, "br": Brotli, "zstd": Zstd}
