from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.state_dirs import open_state_dir


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """An empty directory that the account of the embedded PostgreSQL can enter."""
    with open_state_dir() as directory:
        yield directory
