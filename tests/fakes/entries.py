"""Selects the entries of one kind from a journal in memory."""

from collections.abc import Iterable
from typing import TypeVar

from daemon.journal.entries import Entry

E = TypeVar("E", bound=Entry)


def of_kind(kind: type[E], entries: Iterable[Entry]) -> list[E]:
    return [entry for entry in entries if isinstance(entry, kind)]
