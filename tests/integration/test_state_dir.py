"""The state directory is closed to other accounts, whatever the umask and whatever its mode was."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.host.state_dir import ENTERED_MODE, PRIVATE_MODE, state_dir_held


@pytest.fixture(params=[0o000, 0o022, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode_after(path: Path, *, embedded: bool = False) -> int:
    with state_dir_held(path, embedded=embedded):
        assert stat.S_IMODE((path / "daemon.lock").stat().st_mode) & 0o077 == 0
        return stat.S_IMODE(path.stat().st_mode)


def test_a_new_directory_is_private(tmp_path: Path, umask: None) -> None:
    assert mode_after(tmp_path / "state") == PRIVATE_MODE


@pytest.mark.parametrize("before", [0o777, 0o755, 0o711, 0o700])
def test_an_existing_directory_is_closed_to_others(tmp_path: Path, before: int) -> None:
    (tmp_path / "offers.json").touch()
    tmp_path.chmod(before)
    assert mode_after(tmp_path) == PRIVATE_MODE


def test_only_as_root_may_others_pass_through_to_the_embedded_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for embedded, server in ((True, False), (False, True)):
        path = tmp_path / f"{embedded}"
        path.mkdir()
        if server:
            (path / "postgres").mkdir()
        assert mode_after(path, embedded=embedded) == (ENTERED_MODE if os.geteuid() == 0 else PRIVATE_MODE)


@pytest.mark.parametrize("before", [0o1777, 0o755])
def test_a_directory_that_is_not_tracepools_alone_keeps_its_mode(tmp_path: Path, before: int) -> None:
    if not before & stat.S_ISVTX:
        (tmp_path / "other").mkdir()
    tmp_path.chmod(before)
    assert mode_after(tmp_path) == before
