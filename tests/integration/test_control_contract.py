"""The control face conforms to its OpenAPI document: schemathesis generates requests, over real rows."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trio

from daemon.control.tracing import TracesForOthers
from daemon.host.clocks import read_clocks
from daemon.maintenance.actor import Maintenance
from daemon.maintenance.advisor import Advisor
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.local import LocalBackend
from daemon.troubles import Troubles
from tests.fakes.net import fetcher, net
from tests.fakes.reports import report_of
from tests.integration import contract_hooks
from tests.integration.control_faces import FixedOverview, Served, control_face, row_of
from tests.integration.databases import PostgresServer, Rows, fresh_database
from tests.integration.whole_path import WholePath, whole_path

pytestmark = pytest.mark.slow

TOKEN = "a-token-that-operates"
IPS = 50
EXAMPLES = 3  # for each operation
RUN_S_MAX = 500.0  # on a busy machine; usually a fraction of this
# A request that fits the schema may be refused, such as a URL with a private host or a name that exists; and
# /api/offers/import is also the path of an offer with the name "import".
EXCLUDED = "positive_data_acceptance,allow_header_conformance"
CONFIG = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 404, 405, 409, 413]
[phases.coverage]
unexpected-methods = ["PUT"]
# The settings of an offer are covered by POST /api/offers; these have the same model in theirs.
[[operations]]
include-path-regex = "^/api/offers/(import|change|check)$"
phases.coverage.enabled = false
"""
SETTINGS = Settings(
    control={"bind": "127.0.0.1:0"},
    pool={"cooldown_s": 0, "failures_max": 100},
    trace={"default_country": "us", "hop_timeout_s": 1, "connect_timeout_s": 0.5, "timeout_s": 2},
    click={"deadline_s": 1},
)


@asynccontextmanager
async def full_face(postgres: PostgresServer) -> AsyncIterator[Served]:
    """A control face with all parts that resources use; only the status is constant."""
    async with (
        fresh_database(postgres) as rows,
        net({}) as network,
        whole_path(network.port, SETTINGS, ips=IPS) as path,
        control_face(SETTINGS, [row_of(TOKEN)], **parts_of(rows, path)) as served,
    ):
        await fill(rows)
        yield served


def parts_of(rows: Rows, path: WholePath) -> dict[str, Any]:
    live, troubles = LiveSettings(SETTINGS), Troubles()
    report = report_of(live, path.directory, tally=path.clicks.tally, troubles=troubles)
    advisor = Advisor(rows.database, live, report, read_clocks)
    flush = trio.lowlevel.checkpoint
    maintenance = Maintenance(rows.database, live, path.directory, lambda: 0, flush, advisor, troubles, node_id=uuid4())
    overview: Any = FixedOverview()
    overview.directory, overview.tracer, overview.clicks, overview.dispatcher = (
        *(path.directory, path.tracer, path.clicks, path.dispatcher),
    )
    overview.writer, overview.advisor, overview.report = path.journal, advisor, report
    return {
        "overview": overview,
        "database": rows.database,
        "maintenance": maintenance.round,
        "traces": TracesForOthers(live, LocalBackend(live, fetcher(hop_timeout_s=1))),
    }


async def fill(rows: Rows) -> None:
    for number in range(3):
        await rows.add_ip(f"127.0.1.{number}", is_healthy=number > 0, avg_response_time_ms=number or None)
        offer_id = await rows.add_offer(f"offer {number}", rename='{"gclid": "sub1"}', deadline_s=8.0)
        trace = await rows.add_trace(
            offer_id=offer_id,
            ip_assigned=f"127.0.1.{number}",
            redirect_chain='[{"url": "http://a.example/", "status": 302, "kind": "http", "ms": 1.5}]',
        )
        await rows.sql(
            "insert into hits (request_id, offer_name, outcome, location, wait_ms)"
            " values ($1, 'offer 1', 'resolved', 'L', 5)",
            trace,
        )
    await rows.sql('update offers set tracking_urls = \'[{"url": "https://ads.example/a"}]\' where deadline_s = 8')
    await rows.sql(
        "insert into ip_pool_statistics (total_ips, available_ips, locked_ips, cooldown_ips, failed_ips,"
        " pool_utilization_percent, active_requests, completed_requests_1h, failed_requests_1h)"
        " values (3, 2, 0, 0, 1, 0, 0, 0, 0)"
    )


async def test_each_answer_fits_the_openapi_document_and_none_is_500(postgres: PostgresServer, tmp_path: Path) -> None:
    """Schemathesis runs as a child process, with an event loop of its own."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run"),
        *("--exclude-checks", EXCLUDED, "--max-examples", str(EXAMPLES), "--no-shrink"),
        *("--phases", "examples,coverage,fuzzing", "--suppress-health-check", "all", "--request-timeout", "30"),
        *("--continue-on-failure", "--seed", "1", "--no-color", "--warnings", "off"),
        *("-H", f"Authorization: Bearer {TOKEN}"),
    ]
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    environment = os.environ | {"SCHEMATHESIS_HOOKS": contract_hooks.__name__, "PYTHONPATH": os.getcwd()}
    async with full_face(postgres) as served:
        with trio.fail_after(RUN_S_MAX):
            done = await trio.run_process(
                [*command, f"{served.url}/openapi.json"],
                capture_stdout=True, capture_stderr=True, check=False, cwd=tmp_path, env=environment,
            )  # fmt: skip
    output = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, output
    assert "No issues found" in output, output
