"""The Grafana dashboard and the alert rules in config/ use only exported metrics and valid PromQL."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from daemon.control.metrics import OPENMETRICS, Metrics
from daemon.maintenance.figures import Advice, Severity
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import Landed
from daemon.trace.walk.verdicts import Verdict
from tests.fakes.overviews import fake_overview
from tests.support.needs import need

CONFIG = Path(__file__).parents[2] / "config"
DASHBOARD = CONFIG / "grafana-dashboard.json"
ALERTS = CONFIG / "prometheus-alerts.yml"
ALERT_TESTS = Path(__file__).with_name("prometheus_alerts_test.yml")
SELECTOR = re.compile(r"\b((?:tracepool|process)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
OF_PROMETHEUS = {"instance", "job"}

OUT = Advice("ips_out", Severity.WARNING, "", "", {}, None, "us", country="us", provider="luna", count=3)

Exported = dict[str, dict[str, set[str]]]


@pytest.fixture
def exported() -> Exported:
    """The values of each label, by name of a sample."""
    metrics = Metrics(LiveSettings(Settings(providers={"luna": {"price_per_gb": 3}})))
    for verdict in Verdict:
        metrics.trace("luna", verdict, 0.1, TraceResult(Landed("https://shop.example/"), (), 1_000.0, 1, 1))

    async def page() -> bytes:
        return (await metrics.page(fake_overview(OUT), OPENMETRICS))[0]

    body = trio.run(page)
    found: Exported = {}
    for family in text_string_to_metric_families(body.decode()):  # type: ignore[no-untyped-call]
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


def strings_in(value: Any, key: str) -> Iterator[str]:
    """Each string under `key`, at any depth."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key and isinstance(inner, str):
                yield inner
            yield from strings_in(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from strings_in(inner, key)


def expressions() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text())
    variables = [text for text in strings_in(dashboard["templating"], "query") if "tracepool" in text]
    queries = [*strings_in(dashboard["panels"], "expr"), *strings_in(dashboard["annotations"], "expr"), *variables]
    rules = re.findall(r"^ +expr: (?:>\n)?((?:.+\n)(?: {10}.+\n)*)", ALERTS.read_text(), flags=re.MULTILINE)
    assert len(queries) > 30
    assert len(rules) == ALERTS.read_text().count("- alert:")
    return queries + rules


def test_both_files_use_only_exported_names_labels_and_values(exported: Exported) -> None:
    for expression in expressions():
        selectors = SELECTOR.findall(expression)
        assert selectors or expression.startswith("up{"), expression
        for name, matchers in selectors:
            assert name in exported, f"{name} of {expression}"
            for label, operator, value in MATCHER.findall(matchers):
                if label in OF_PROMETHEUS:
                    continue
                assert label in exported[name], f"{name} has no label {label}: {expression}"
                for one in value.split("|") if operator in ("=", "=~") else ():
                    assert one in exported[name][label], f"{label} of {name} is never {one}: {expression}"
        labels = {label for name, _ in selectors for label in exported[name]} | OF_PROMETHEUS
        for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
            assert {word.strip() for word in group.split(",")} <= labels, expression


def test_each_metric_of_the_daemon_is_used_in_one_of_the_files(exported: Exported) -> None:
    queries = {name for expression in expressions() for name, _ in SELECTOR.findall(expression)}
    parts = re.compile("_(?:count|sum|bucket)$")
    shown = {parts.sub("", name) for name in queries}
    assert {name for name in exported if name.startswith("tracepool") and parts.sub("", name) not in shown} == set()


def test_the_dashboard_fits_grafanas_rules() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert all(target["expr"].count("(") == target["expr"].count(")") for target in panel["targets"])


def promtool(*arguments: str) -> str:
    done = subprocess.run(
        [need("prometheus", "promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules_and_each_expression() -> None:
    assert f"{ALERTS.read_text().count('- alert:')} rules found" in promtool("check", "rules", str(ALERTS))


def test_promtool_accepts_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    """As recording rules, with Grafana's variables filled in."""
    filled = [
        expression.replace("$__rate_interval", "1m").replace("$instance", ".*")
        for expression in strings_in(json.loads(DASHBOARD.read_text())["panels"], "expr")
    ]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(filled)]
    file = tmp_path / "panels.yml"  # JSON is valid YAML
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))


def test_promtool_confirms_when_the_alerts_fire() -> None:
    promtool("test", "rules", str(ALERT_TESTS))
