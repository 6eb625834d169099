"""SIGHUP at any moment of the start: the process survives, and all its parts use the new settings."""

import signal
from pathlib import Path

import pytest
import trio

from tests.fakes.wire import free_port, listening
from tests.support.processes import Serving, as_toml, click, control_request, end_of, offer, serving
from tests.support.waiting import until

OLD_TOKEN, NEW_TOKEN = "the-token-of-before", "the-token-of-now"
OLD_DEADLINE_S, NEW_DEADLINE_S = 40, 1.5
OLD_COOLDOWN_S, NEW_COOLDOWN_S = 3_600, 0.25
OLD_WAITING_MAX, NEW_WAITING_MAX = 400, 77
# The log event after which the signal is sent; None: as soon as the process handles the signal.
MOMENTS = [None, "starting", "embedded_database", "offers_adopted", "ready"]


def settings(port: int, *, new: bool) -> dict[str, dict[str, object]]:
    return {
        "click": {"bind": [f"127.0.0.1:{port}"], "deadline_s": NEW_DEADLINE_S if new else OLD_DEADLINE_S},
        "control": {"bind": "127.0.0.1:0", "token": NEW_TOKEN if new else OLD_TOKEN},
        "pool": {
            "cooldown_s": NEW_COOLDOWN_S if new else OLD_COOLDOWN_S,
            "waiting_max": NEW_WAITING_MAX if new else OLD_WAITING_MAX,
        },
        "trace": {"retries_max": 0},
    }


async def handles_sighup(daemon: Serving) -> None:
    """Wait until the process handles SIGHUP, which ended it before. See systemd/tracepool.service."""
    status = Path(f"/proc/{daemon.process.pid}/status")

    def catches_sighup() -> bool:
        [caught] = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("SigCgt:")]
        return bool(int(caught, 16) >> (signal.SIGHUP - 1) & 1)

    await until(catches_sighup, "it handles SIGHUP")


async def says_nothing(stream: trio.abc.Stream) -> None:
    await trio.sleep_forever()


async def new_settings_hold(daemon: Serving) -> None:
    """Check that the control face, status, metrics, clicks and pool use the new settings."""
    await until(lambda: control_request(daemon, token=NEW_TOKEN).status_code == 200, "the new token is in force")
    assert control_request(daemon, token=OLD_TOKEN).status_code == 401
    metrics = control_request(daemon, "/metrics", token=NEW_TOKEN).text
    assert f"tracepool_click_deadline_seconds {NEW_DEADLINE_S}" in metrics
    async with listening(says_nothing) as silent_port:
        await daemon.psql(
            f"INSERT INTO ip_rotation_pool (ip_address, ip_port, country) VALUES ('127.0.0.1', '{silent_port}', 'us')"
        )
        await offer(daemon, "sale", "http://ads.example/")
        await until(lambda: daemon.counts("us")["total"] == 1, "the IP is adopted")
        answer = await click(daemon, "sale")
        [line] = await daemon.logged("click")
        assert answer.redirected
        assert line["reason"] == "deadline"
        assert line["wait_ms"] < OLD_DEADLINE_S * 1000 / 2
    assert daemon.status()["queues"]["waiting_for_an_ip_us"]["max"] == NEW_WAITING_MAX
    await until(lambda: daemon.counts("us")["available"] == 1, "the IP has rested for the new cooldown")


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_sighup_at_any_moment_of_the_start_is_honoured_by_all_parts(
    moment: str | None, state_dir: Path
) -> None:
    port = free_port()
    async with serving(state_dir, settings(port, new=False), None, moment is None, ready=False) as daemon:
        daemon = Serving(daemon.process, daemon.state_dir, port, daemon.log_file)
        await (handles_sighup(daemon) if moment is None else daemon.logged(moment))
        (state_dir / "settings.toml").write_text(as_toml(state_dir, settings(port, new=True)))
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.ready()
        await new_settings_hold(daemon)
        assert await daemon.stop() == 0
        assert daemon.faults() == []


async def test_sighups_while_it_starts_and_stops_end_nothing(state_dir: Path) -> None:
    async with serving(state_dir, None, None, True, ready=False) as daemon:
        await handles_sighup(daemon)
        while not daemon.log("ready"):
            assert daemon.process.poll() is None
            daemon.process.send_signal(signal.SIGHUP)
            await trio.sleep(0.01)
        daemon.process.send_signal(signal.SIGTERM)
        while daemon.process.poll() is None:
            daemon.process.send_signal(signal.SIGHUP)
            await trio.sleep(0.005)
        assert await end_of(daemon.process) == 0
        assert daemon.log("stopped")
        assert daemon.faults() == []


async def test_a_sigterm_before_it_starts_ends_it(state_dir: Path) -> None:
    async with serving(state_dir, None, None, True, ready=False) as daemon:
        await handles_sighup(daemon)
        assert await daemon.stop() in (0, -signal.SIGTERM)


@pytest.mark.parametrize("role", ["full", "tracer"])
async def test_a_sigterm_while_it_starts_ends_it_cleanly(role: str, state_dir: Path) -> None:
    async with serving(state_dir, ready=False, TRACEPOOL_ROLE=role) as daemon:
        await daemon.logged("starting")
        await trio.to_thread.run_sync(daemon.process.send_signal, signal.SIGTERM)
        assert await end_of(daemon.process) == 0
