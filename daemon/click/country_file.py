"""The countries of addresses, from the mmdb file `click.country_file` (MaxMind, DB-IP, IPinfo and others).

The file is read into memory, so that a file that is truncated or written in place cannot harm the daemon. It is looked
at every CHECK_S, and read again when it has changed. A file that cannot be used is a trouble (troubles.py); the
countries of the file before stay in use, and clicks go on.
"""

import ipaddress
import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import maxminddb
import structlog
import trio

from daemon.errors import FileUnusable
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.troubles import Troubles

READING = "reading click.country_file"
CHECK_S = 5.0
FILE_BYTES_MAX = 1024**3
RECORDS_TRIED = 1_000
"""One of the file's first records must have a country."""

log = structlog.get_logger("daemon.click")

Version = tuple[str, int, int, int]


@dataclass(eq=False, repr=False)
class CountryFile:
    _live: LiveSettings
    _troubles: Troubles
    _reader: maxminddb.Reader | None = field(default=None, init=False)
    _version: Version | None = field(default=None, init=False)
    _faults: int = field(default=0, init=False)
    _changed: trio.Event = field(default_factory=trio.Event, init=False)

    def __post_init__(self) -> None:
        self._live.subscribe(self._use)

    def _use(self, _: Settings) -> None:
        self._changed.set()

    def find(self, address: str | None) -> str | None:
        """What the file has for the country of an address: a code such as DE; None if it has none. Never raises."""
        if self._reader is None or address is None:
            return None
        try:
            parsed = ipaddress.ip_address(address)
            mapped = parsed.ipv4_mapped if parsed.version == 6 else None
            return country_in_record(self._reader.get(mapped or parsed))
        except Exception as e:  # an address that is none, or a file that is damaged inside
            self._faults += 1
            if self._faults == 1:
                log.warning("country_file_faults", why=type(e).__name__)
            return None

    async def run(self) -> None:
        """Look at the file until cancelled."""
        while True:
            self._changed = trio.Event()
            await self.look()
            with trio.move_on_after(CHECK_S if self._live.current.click.country_file else float("inf")):
                await self._changed.wait()

    async def look(self) -> None:
        """Read the file if it is another one than before."""
        path = self._live.current.click.country_file
        if not path:
            self._reader = self._version = None
            self._troubles.over(READING)
            return
        try:
            version = await trio.to_thread.run_sync(_version_of, path, abandon_on_cancel=True)
            if version == self._version:
                self._troubles.over(READING)  # the file is back
                return
            reader = await trio.to_thread.run_sync(_read, path, abandon_on_cancel=True)
        except FileUnusable as e:
            if self._version is not None and self._version[0] != path:
                self._reader = self._version = None
            kept = "the countries of the file as it was before stay in use" if self._reader else "it gives no countries"
            self._troubles.note(READING, e, effect=f"{kept}; clicks go on")
            return
        self._reader, self._version, self._faults = reader, version, 0
        self._troubles.over(READING)
        built = time.strftime("%Y-%m-%d", time.gmtime(reader.metadata().build_epoch))
        log.info("country_file_read", file=path, type=reader.metadata().database_type, built=built)


def country_in_record(record: Any) -> str | None:
    """The country of an mmdb record: `country.iso_code` (MaxMind, DB-IP), `country_code` or `country` (IPinfo)."""
    if not isinstance(record, Mapping):
        return None
    country = record.get("country")
    if isinstance(country, Mapping):
        country = country.get("iso_code")
    found = record.get("country_code") or country
    return found if isinstance(found, str) else None


def _version_of(path: str) -> Version:
    try:
        found = os.stat(path)
    except OSError as e:
        raise FileUnusable(f"{path}: {e.strerror}") from None
    if not stat.S_ISREG(found.st_mode):  # opening a FIFO would wait for its writer
        raise FileUnusable(f"{path}: this is no regular file")
    return path, found.st_ino, found.st_size, found.st_mtime_ns


def _read(path: str) -> maxminddb.Reader:
    try:
        size = os.stat(path).st_size
        if size > FILE_BYTES_MAX:
            raise FileUnusable(f"{path}: larger than {FILE_BYTES_MAX // 1024**2} MiB")
        reader = maxminddb.open_database(path, maxminddb.MODE_MEMORY)
    except OSError as e:
        raise FileUnusable(f"{path}: {e.strerror}") from None
    except FileUnusable:
        raise
    except Exception:  # the library raises errors of many kinds for a file that is cut off
        raise FileUnusable(f"{path}: this is no mmdb file, or only a part of one") from None
    try:
        is_useful = any(country_in_record(record) for _, record in islice(reader, RECORDS_TRIED))
    except Exception:
        raise FileUnusable(f"{path}: the file is damaged") from None
    if not is_useful:
        raise FileUnusable(f"{path}: its records have no countries (it is a {reader.metadata().database_type})")
    return reader
