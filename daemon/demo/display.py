"""What the demo prints: lines for people, a table that fills while the clicks wait, and, with --json, JSON objects.

With --json, standard output has one object per click and nothing else; everything else goes to standard error.
"""

import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import trio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from daemon.demo.showcase import ClickResult, Offer
from daemon.printable import one_line, safe_json, word

ONE_LINE_COLUMNS = 130
"""On a terminal at least this wide a click's final URL is in its row, else in a list below the table."""
REDRAW_S = 0.1


class Display:
    """`results` are the clicks that have ended, by their index. Lines are not wrapped, so that they can be copied."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        stream = sys.stderr if as_json else sys.stdout
        width = shutil.get_terminal_size().columns if stream.isatty() else ONE_LINE_COLUMNS
        self._console = Console(file=stream, width=width, highlight=False)
        self._errors = Console(file=sys.stderr, highlight=False)
        self.results: dict[int, ClickResult] = {}
        self._by_node: Counter[str] = Counter()

    def say(self, line: str = "") -> None:
        self._console.print(Text(one_line(line)), soft_wrap=True)

    def warn(self, line: str) -> None:
        """Print a line on standard error."""
        self._errors.print(Text(one_line(line)), soft_wrap=True)

    def fact(self, label: str, text: str) -> None:
        self._console.print(Text.assemble("  ", (f"{label:<12}", "bold"), one_line(text)), soft_wrap=True)

    async def watch_clicks(self, offers: Sequence[Offer]) -> None:
        """On a terminal, redraw the table until cancelled; elsewhere show nothing."""
        if not self._console.is_terminal:
            return
        began_s = trio.current_time()
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                live.update(self._clicks(offers, trio.current_time() - began_s), refresh=True)
                await trio.sleep(REDRAW_S)

    def clicks(self, offers: Sequence[Offer]) -> None:
        """Print the table with the results so far."""
        self._console.print(self._clicks(offers, 0.0))

    def results_as_json(self, results: Sequence[ClickResult]) -> None:
        if self._as_json:
            sys.stdout.write("".join(f"{safe_json(result.to_json())}\n" for result in results))
            sys.stdout.flush()

    def verdict(self, broken: Sequence[str], clicks: int) -> None:
        if broken:
            for line in broken:
                self.warn(f"tracepool: a promise was broken: {line}")
            return
        if self._by_node:
            counts = ", ".join(f"{node} {count}" for node, count in sorted(self._by_node.items()))
            self.say(f"Clicks by process: {counts}. Each process is a node with IPs of its own.")
        self.say(f"All {clicks} clicks got what their offers promise, each through an IP of its own.")

    def note_node(self, line: Mapping[str, Any]) -> None:
        """Note which of several processes has answered a click, given the daemon's log line of the click."""
        if "node" in line:
            self._by_node[line["node"]] += 1

    def later_click(self, line: Mapping[str, Any]) -> None:
        """Print a click that the user sent, given the daemon's log line of the click."""
        ending = f"{line['outcome']} ({line['reason']})" if line.get("reason") else line["outcome"]
        node = f"  ({word(line['node'])})" if "node" in line else ""
        ip, location = line.get("ip") or "no IP", line["location"]
        self.say(f"  {word(line['offer'])}  {ip}  {_seconds(line['wait_ms'])}  {ending}  {location}{node}")

    def _clicks(self, offers: Sequence[Offer], waited_s: float) -> RenderableType:
        wide = self._console.width >= ONE_LINE_COLUMNS
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        table.add_column("")
        for name in ("offer", "country", "IP", "hops", "wait", "outcome", "reason", *(("final URL",) if wide else ())):
            table.add_column(name, justify="right" if name in ("hops", "wait") else "left", no_wrap=True)
        parts: list[RenderableType] = []
        for number, offer in enumerate(offers):
            result = self.results.get(number)
            table.add_row(*_cells(number, offer, result, waited_s), *([_url(result)] if wide else []))
        parts.append(table)
        if not wide:
            parts.append(Text("\nfinal URLs", style="dim"))
            parts += [Text.assemble((f"{n + 1}  ", "dim"), _url(self.results.get(n))) for n in range(len(offers))]
        return Group(Text(), *parts, Text())


def _cells(number: int, offer: Offer, result: ClickResult | None, waited_s: float) -> list[Text]:
    if result is None:
        wait, ip, hops, outcome, reason = f"{waited_s:.1f} s", "", "", "on its way", ""
    else:
        wait, ip, hops = _seconds(result.wait_ms), result.ip or "", str(result.hops)
        outcome, reason = result.outcome or "none", result.reason or ""
    style = {"resolved": "green", "fallback": "yellow", "none": "red"}.get(outcome, "dim")
    values = [(str(number + 1), "dim"), (offer.name, ""), (offer.country, ""), (ip, ""), (hops, ""), (wait, "")]
    return [Text(one_line(text), style=look) for text, look in (*values, (outcome, style), (reason, ""))]


def _url(result: ClickResult | None) -> Text:
    return Text(one_line(result.location or "") if result else "", overflow="fold")


def _seconds(wait_ms: float) -> str:
    return f"{wait_ms / 1000:.2f} s"
