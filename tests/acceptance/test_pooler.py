"""PgBouncer in statement mode, which the daemon refuses. tests/faults uses the other two modes."""

from pathlib import Path

from daemon.database import cluster
from tests.fakes.pooler import PACKAGE, pooler
from tests.fakes.relay import open_relay, socket_url
from tests.support.needs import need
from tests.support.processes import database_of, end_of, serving

BAD_SETTINGS = 78


async def test_statement_mode_is_refused_with_a_sentence(state_dir: Path, tmp_path: Path) -> None:
    need(PACKAGE)
    other = state_dir / "database"
    other.mkdir(mode=0o711)
    async with (
        database_of(other) as url,
        open_relay(Path(url.rpartition("host=")[2]) / cluster.SOCKET_NAME) as relay,
        pooler("statement", relay.port, tmp_path) as port,
        serving(state_dir, {"database": {"url": socket_url(port)}}, ready=False) as daemon,
    ):
        assert await end_of(daemon.process) == BAD_SETTINGS
        said = daemon.log_file.read_text()
    assert "database.url" in said
    assert "pool_mode" in said
    assert "transaction or session" in said
