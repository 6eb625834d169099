"""A scrape of the metrics: counters, current figures, and no secrets."""

import time
from uuid import UUID

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from daemon.control.metrics import OTHER, PROVIDERS_MAX, Metrics
from daemon.maintenance.advice import RULES
from daemon.maintenance.figures import Advice, Severity
from daemon.nodes.figures import CountryFigures, NodeFigures
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import Landed
from daemon.trace.walk.verdicts import Verdict
from tests.fakes.overviews import fake_overview
from tests.fakes.reports import a_node

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
CANARY = "c4n4ry-password"
SETTINGS = Settings(providers={"luna": {"username": "me", "password": CANARY, "price_per_gb": 3}})
RESULT = TraceResult(Landed("https://shop.example/?secret=1"), (), 4_200.0, 30_000, 10_000)


async def scraped(metrics: Metrics, *advice: Advice) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Value by name and labels."""
    body, _ = await metrics.page(fake_overview(*advice), OPENMETRICS)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in openmetrics(body.decode())  # type: ignore[no-untyped-call]
        for sample in family.samples
    }


def value_in(samples: dict[tuple[str, tuple[tuple[str, str], ...]], float], name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


async def test_before_the_first_click_the_counters_are_zero() -> None:
    found = await scraped(Metrics(LiveSettings(SETTINGS)))
    assert value_in(found, "tracepool_clicks_total", outcome="fallback", reason="no_ip") == 0
    assert value_in(found, "tracepool_clicks_total", outcome="resolved", reason="") == 0
    assert value_in(found, "tracepool_click_wait_seconds_count") == 0
    assert {dict(labels)["code"] for name, labels in found if name == "tracepool_advice_active"} == set(RULES)


async def test_clicks_are_counted_by_outcome_and_reason_and_refused_ones_without_a_wait() -> None:
    metrics = Metrics(LiveSettings(SETTINGS))
    metrics.click("resolved", None, 2.5)
    metrics.click("fallback", "deadline", 9.96)
    metrics.click("left", None, 1.0)
    metrics.click("refused", "unknown_offer", 0.0)
    found = await scraped(metrics)
    assert value_in(found, "tracepool_clicks_total", outcome="fallback", reason="deadline") == 1
    assert value_in(found, "tracepool_clicks_total", outcome="refused", reason="unknown_offer") == 1
    assert value_in(found, "tracepool_click_wait_seconds_count") == 3
    assert value_in(found, "tracepool_click_wait_seconds_sum") == pytest.approx(13.46)
    below = [value_in(found, "tracepool_click_wait_seconds_bucket", le=le) for le in ("9.5", "10.0", "12.0")]
    assert below == [2, 3, 3]


@pytest.mark.parametrize("name", ["tracepool_click_wait_seconds", "tracepool_trace_wait_seconds"])
async def test_buckets_are_finest_around_the_deadline(name: str) -> None:
    found = await scraped(Metrics(LiveSettings(SETTINGS)))
    bounds = sorted(float(dict(labels)["le"]) for sample, labels in found if sample == f"{name}_bucket")
    assert [bound for bound in bounds if 5 <= bound <= 12] == [5, 7, 8, 9, 9.5, 10, 10.5, 12]


async def test_traces_are_counted_with_bytes_and_cost_by_provider() -> None:
    metrics = Metrics(LiveSettings(SETTINGS))
    metrics.trace("luna", Verdict.OK, 0.2, RESULT)
    metrics.trace("luna", Verdict.IP, 0.2, RESULT)
    metrics.trace("own", Verdict.OK, 0.2, RESULT)
    metrics.without_ip()
    found = await scraped(metrics)
    assert value_in(found, "tracepool_traces_total", verdict="ip", provider="luna") == 1
    assert value_in(found, "tracepool_trace_seconds_sum", landed="yes") == pytest.approx(8.4)
    assert value_in(found, "tracepool_trace_seconds_count", landed="no") == 1
    assert value_in(found, "tracepool_trace_wait_seconds_count") == 3
    assert value_in(found, "tracepool_traces_without_ip_total") == 1
    assert value_in(found, "tracepool_proxy_bytes_total", provider="luna", direction="received") == 60_000
    assert value_in(found, "tracepool_proxy_bytes_total", provider="own", direction="sent") == 10_000
    assert value_in(found, "tracepool_proxy_cost_total", provider="luna") == pytest.approx(80_000 / 1e9 * 3)
    assert not [
        labels for name, labels in found if name == "tracepool_proxy_cost_total" and ("provider", "own") in labels
    ]


async def test_new_settings_change_prices_and_deadline() -> None:
    live = LiveSettings(SETTINGS)
    metrics = Metrics(live)
    live.replace(Settings(click={"deadline_s": 8}, providers={"own": {"price_per_gb": 1}}))
    metrics.trace("own", Verdict.OK, 0.2, RESULT)
    found = await scraped(metrics)
    assert value_in(found, "tracepool_proxy_cost_total", provider="own") == pytest.approx(4e-5)
    assert value_in(found, "tracepool_click_deadline_seconds") == 8


async def test_current_figures_are_read_at_the_scrape() -> None:
    advice = Advice("oversized", Severity.INFO, "Too many.", "below 50%", {}, None, "us")
    found = await scraped(Metrics(LiveSettings(SETTINGS)), advice)
    states = [value_in(found, "tracepool_pool_ips", country="us", state=s) for s in ("available", "locked", "failed")]
    assert states == [1, 1, 1]
    assert value_in(found, "tracepool_pool_utilisation_ratio", country="us") == 0.5
    assert value_in(found, "tracepool_leases_total", country="us") == 1
    assert value_in(found, "tracepool_active_traces") == 1
    assert value_in(found, "tracepool_clicks_waiting") == 2
    queue = [value_in(found, f"tracepool_queue_{what}", queue="workers_busy") for what in ("length", "limit")]
    assert queue == [6, 10]
    journal = [value_in(found, f"tracepool_journal_{n}_total") for n in ("recorded", "dropped", "refused", "late_hits")]
    assert journal == [70, 4, 5, 3]
    assert value_in(found, "tracepool_journal_backlog_entries") == 42
    assert value_in(found, "tracepool_database_reachable") == 0
    assert value_in(found, "tracepool_advice_active", code="oversized", severity="info") == 1
    assert value_in(found, "tracepool_advice_active", code="oversized", severity="critical") == 0
    assert value_in(found, "process_resident_memory_bytes") > 0
    assert [labels for name, labels in found if name == "tracepool_build_info"]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/plain"),
        ("*/*", "text/plain"),
        ("text/html", "text/plain"),
        (OPENMETRICS, "application/openmetrics-text"),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3", "application/openmetrics-text"),
        ("text/plain, application/OpenMetrics-Text", "application/openmetrics-text"),
        ("application/openmetrics-text; version=newest", "application/openmetrics-text"),
        ("\x00;;,,=", "text/plain"),
    ],
)  # fmt: skip
async def test_the_accept_header_chooses_the_format(accept: str | None, content_type: str) -> None:
    body, found = await Metrics(LiveSettings(SETTINGS)).page(fake_overview(), accept)
    assert found.startswith(content_type)
    parse = openmetrics if "openmetrics" in content_type else plain
    assert len(list(parse(body.decode()))) > 15


async def test_a_scrape_has_no_secret_and_no_data_of_a_click() -> None:
    metrics = Metrics(LiveSettings(SETTINGS))
    metrics.trace("luna", Verdict.OK, 0.2, RESULT)
    for accept in (None, OPENMETRICS):
        body = (await metrics.page(fake_overview(), accept))[0].decode()
        for word in (CANARY, "shop.example", "secret", '"a"', "192.0.2"):
            assert word not in body


async def test_the_number_of_providers_with_a_series_is_bounded() -> None:
    metrics = Metrics(LiveSettings(SETTINGS))
    for number in range(PROVIDERS_MAX + 50):
        metrics.trace(f"p{number}", Verdict.OK, 0.2, RESULT)
        metrics.trace("p0", Verdict.TARGET, 0.2, RESULT)
    found = await scraped(metrics)
    providers = {dict(labels)["provider"] for name, labels in found if name == "tracepool_traces_total"}
    assert len(providers) == PROVIDERS_MAX + 1
    assert value_in(found, "tracepool_traces_total", verdict="ok", provider=OTHER) == 50
    assert value_in(found, "tracepool_traces_total", verdict="target", provider="p0") == PROVIDERS_MAX + 50


async def test_counting_a_click_costs_almost_nothing() -> None:
    """The bound is far above the usual 0.02 ms, so that only a real regression exceeds it."""
    metrics = Metrics(LiveSettings(SETTINGS))
    began = time.process_time()
    for _ in range(2_000):
        metrics.click("resolved", None, 2.5)
        metrics.trace("luna", Verdict.OK, 0.2, RESULT)
    assert (time.process_time() - began) / 2_000 < 0.001


async def test_figures_of_all_nodes_have_names_of_their_own() -> None:
    other = NodeFigures(countries={"us": CountryFigures(available=4, waiting=2)}, active_traces=5)
    overview = fake_overview(others=[a_node(UUID(int=2), other), a_node(UUID(int=3), seen_s_ago=6)])
    body, _ = await Metrics(LiveSettings(SETTINGS)).page(overview, None)
    families = {family.name: family for family in plain(body.decode())}
    found = {
        (sample.name, *sample.labels.values()): sample.value for one in families.values() for sample in one.samples
    }
    assert (found["tracepool_pool_ips", "us", "available"], found["tracepool_active_traces",]) == (1, 1)
    assert found["tracepool_cluster_pool_ips", "us", "available"] == 5
    assert (found["tracepool_cluster_pool_waiting", "us"], found["tracepool_cluster_active_traces",]) == (2, 6)
    assert found["tracepool_cluster_pool_ips", "de", "available"] == 0, "an offer's country without IPs"
    assert found["tracepool_cluster_active_offers", "de"] == 1
    assert (found["tracepool_cluster_nodes", "active"], found["tracepool_cluster_nodes", "not seen"]) == (2, 1)
    for name, family in families.items():
        of_all = name.startswith(("tracepool_cluster", "tracepool_advice_"))
        assert ("of all nodes together" in family.documentation) == of_all, name
