"""What a running daemon shows and does after it has reloaded its settings on SIGHUP."""

import contextlib
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import trio
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.wire import listening
from tests.support.processes import Serving, as_toml, control_request, network_of, provision, serving
from tests.support.waiting import until

BEFORE = {
    "click": {"deadline_s": 12, "waiting_max": 400, "connections_max": 5_000},
    "pool": {"waiting_max": 300},
    "trace": {"workers": 20, "queue_max": 60},
}
AFTER = {
    "click": {"deadline_s": 8, "waiting_max": 77, "connections_max": 6_000},
    "pool": {"waiting_max": 66},
    "trace": {"workers": 40, "queue_max": 90},
}
SHOWN_ONCE_RELOADED = {
    "clicks_waiting": 77,
    "waiting_for_an_ip_us": 66,
    # These settings need a restart: the old values are shown until then.
    "connections": 5_000,
    "workers_busy": 20,
    "traces_waiting_for_a_worker": 60,
}
SILENT_S = 40.0


def limits_in(page: str) -> dict[str, float]:
    return {
        sample.labels["queue"]: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "tracepool_queue_limit"
    }


async def reload(daemon: Serving, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the settings, send SIGHUP, and wait until the daemon has taken the settings over."""
    sections = {section: dict(values) for section, values in settings.items()}
    sections["click"] = {"bind": [f"127.0.0.1:{daemon.port}"], **sections.get("click", {})}
    sections["control"] = {"bind": "127.0.0.1:0", **sections.get("control", {})}
    (daemon.state_dir / "settings.toml").write_text(as_toml(daemon.state_dir, sections))
    done = len(daemon.log("reloaded"))
    daemon.process.send_signal(signal.SIGHUP)
    await daemon.logged("reloaded", done + 1)


async def test_status_and_metrics_show_the_settings_of_the_last_reload(state_dir: Path) -> None:
    async with network_of(["127.3.0.1"]) as network, serving(state_dir, BEFORE) as daemon:
        await provision(daemon, network, network.addresses)
        await reload(daemon, AFTER)
        [line] = daemon.log("reloaded")
        assert line["wait_for_a_restart"] == ["click.connections_max", "trace.workers", "trace.queue_max"]
        queues, page = daemon.status()["queues"], control_request(daemon, "/metrics").text
        limits = limits_in(page)
        assert {name: queues[name]["max"] for name in SHOWN_ONCE_RELOADED} == SHOWN_ONCE_RELOADED
        assert {name: limits[name] for name in SHOWN_ONCE_RELOADED} == SHOWN_ONCE_RELOADED
        assert "tracepool_click_deadline_seconds 8.0" in page
        assert control_request(daemon, "/api/history").json()["deadline_ms"] == 8_000
        assert await daemon.stop() == 0


async def test_a_new_maintenance_interval_does_not_wait_for_the_old_one(state_dir: Path) -> None:
    async with serving(state_dir, {"maintenance": {"interval_s": 3_600}}) as daemon:
        assert rounds_of(daemon) == []
        await reload(daemon, {"maintenance": {"interval_s": 1}})
        await until(lambda: rounds_of(daemon), "there is a round")
        assert await daemon.stop() == 0


def rounds_of(daemon: Serving) -> list[dict[str, Any]]:
    """The records of each round of maintenance."""
    return list(control_request(daemon, "/api/statistics").json()["items"])


async def says_nothing(stream: trio.abc.Stream) -> None:
    await trio.sleep_forever()


async def test_a_tracer_stops_within_the_deadline_of_the_last_reload(state_dir: Path) -> None:
    times: dict[str, object] = {"timeout_s": SILENT_S + 10, "hop_timeout_s": SILENT_S, "connect_timeout_s": SILENT_S}
    trace = {"allow_private": True, **times}
    settings: dict[str, dict[str, object]] = {"click": {"deadline_s": 60}, "trace": trace}
    async with listening(says_nothing) as port, serving(state_dir, settings, TRACEPOOL_ROLE="tracer") as tracer:
        await reload(tracer, {"click": {"deadline_s": 1}, "trace": trace})
        body = {"url": "http://ads.example/", "proxy_ip": "127.0.0.1", "proxy_port": port}

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, ask_until_it_ends, tracer, body)
            await until(lambda: under_way(tracer, body), "the trace is under way")
            began_s = trio.current_time()
            assert await tracer.stop() == 0
            assert trio.current_time() < began_s + SILENT_S / 4


def ask_until_it_ends(tracer: Serving, body: dict[str, Any]) -> None:
    """Ask for a trace; the tracer's end closes the connection."""
    with contextlib.suppress(httpx.TransportError):
        while control_request(tracer, "/trace", method="POST", json=body).status_code == 409:
            pass  # a question of under_way came first


def under_way(tracer: Serving, body: dict[str, Any]) -> bool:
    """Whether the proxy is in use: another trace through it is refused."""
    return control_request(tracer, "/trace", method="POST", json={**body, "timeout_ms": 1}).status_code == 409
