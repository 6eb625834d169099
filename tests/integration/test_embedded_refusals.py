"""Why the embedded PostgreSQL may not start, and that the error has the cause and the remedy."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.database import cluster, embedded
from daemon.errors import DatabaseSetupFailed
from tests.support.state_dirs import open_state_dir

pytestmark = pytest.mark.slow


@pytest.fixture
def empty_dir() -> Iterator[Path]:
    with open_state_dir(empty=True) as path:
        yield path


def test_a_socket_directory_that_is_open_to_others_is_refused(empty_dir: Path) -> None:
    state_dir = empty_dir / ("long" * 30)
    server = embedded.start(state_dir)
    server.stop()
    server.socket_dir.mkdir()
    server.socket_dir.chmod(0o755)
    try:
        with pytest.raises(DatabaseSetupFailed, match=rf"{server.socket_dir} must be a directory of .* 0700"):
            embedded.start(state_dir)
    finally:
        server.socket_dir.rmdir()


def test_a_failed_start_says_what_the_server_logged_and_a_next_one_works(empty_dir: Path) -> None:
    embedded.start(empty_dir).stop()
    conf = empty_dir / "postgres/data/postgresql.conf"
    good = conf.read_text()
    conf.write_text(good + "no_such_setting = 1\n")
    with pytest.raises(DatabaseSetupFailed, match=r'(?s)could not start.*"no_such_setting"') as refused:
        embedded.start(empty_dir)
    assert "ready to accept" not in str(refused.value), "only what this start logged"
    conf.write_text(good)
    server = embedded.start(empty_dir)
    server.stop()
    assert embedded.running_url(empty_dir) is None


def test_data_of_another_major_version_are_refused_with_the_way_to_dump_them(empty_dir: Path) -> None:
    data = empty_dir / "postgres/data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(DatabaseSetupFailed, match=r"written by PostgreSQL 9; this installation has \d+.*pg_dump"):
        embedded.start(empty_dir)


def test_what_the_disk_refuses_is_named(empty_dir: Path) -> None:
    assert "disk is full" in str(cluster.failed("initdb failed.", "could not write: No space left on device"))
    with pytest.raises(DatabaseSetupFailed, match="disk is full"), cluster.translated_errors(empty_dir):
        raise OSError(28, "No space left on device")
    (empty_dir / "postgres").write_text("a file where a directory belongs")
    with pytest.raises(DatabaseSetupFailed, match="Not a directory"):
        embedded.start(empty_dir)


@pytest.mark.root  # only root runs the server as another account
def test_a_state_directory_closed_to_the_account_is_refused_by_name_and_keeps_its_mode(empty_dir: Path) -> None:
    closed = empty_dir / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(DatabaseSetupFailed, match=rf"may not enter {closed} .*state_dir under /var/lib.*database.url"):
        embedded.start(closed / "state")
    assert closed.stat().st_mode & 0o777 == 0o700
    assert list(closed.iterdir()) == []
