"""The offers as PostgreSQL last had them, in a file of the state directory: a start without it redirects by them.

Only fallbacks go by this file, and only until PostgreSQL can be reached; it is never read after that.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

NAME = "offers.json"


def remember_offers(state_dir: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replaces the file as a whole, by rows of `load_offers`. Raises OSError where the disk refuses."""
    file = state_dir / NAME
    fresh = file.with_suffix(".new")
    with open(fresh, "w", opener=_private) as written:
        json.dump([dict(row) for row in rows], written, default=str)
    os.replace(fresh, file)


def remembered_offers(state_dir: Path) -> list[dict[str, Any]]:
    """The rows that were remembered last; none where there is no file, or none that can be read."""
    try:
        rows = json.loads((state_dir / NAME).read_bytes())
        return [{**row, "id": UUID(row["id"])} for row in rows]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
