"""The cache file: the last known offers, in the state directory, for a start while PostgreSQL is away.

The file serves fallbacks only, and only until PostgreSQL can be reached.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

NAME = "offers.json"


def remember_offers(state_dir: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace the file atomically by rows of `load_offers`. Raises OSError."""
    file = state_dir / NAME
    fresh = file.with_suffix(".new")
    with open(fresh, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as written:
        json.dump([dict(row) for row in rows], written, default=str)
    os.replace(fresh, file)


def remembered_offers(state_dir: Path) -> list[dict[str, Any]]:
    """The rows of the file; none if it is missing or unreadable."""
    try:
        rows = json.loads((state_dir / NAME).read_bytes())
        return [{**row, "id": UUID(row["id"])} for row in rows]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []
