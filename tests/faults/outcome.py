"""What a fault led to, as lines for people. Pure."""

import statistics
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.records import Breach

BREACHES_SHOWN = 10
NAME_WIDTH = 34


@dataclass(frozen=True, slots=True)
class Outcome:
    """`uses`: of IPs, as the proxies saw them. `figures`: seconds by name. `evidence`: the directory of all records."""

    fault: str
    mutant: str | None
    rounds: int
    took_s: float
    clicks: Counter[str]
    fallbacks: Counter[str]
    uses: int
    shortest_rest_s: float
    cooldown_s: float
    hits: int
    traces: int
    figures: dict[str, list[float]] = field(default_factory=dict)
    breaches: list[Breach] = field(default_factory=list)
    evidence: Path | None = None

    def kinds(self) -> Counter[str]:
        return Counter(breach.kind for breach in self.breaches)

    def line(self) -> str:
        """Verdict and counts in one line."""
        verdict = "holds" if not self.breaches else f"{len(self.breaches)} BREACHES"
        fallbacks = "".join(f", {count} {reason}" for reason, count in self.fallbacks.most_common())
        unanswered = self.clicks.keys() - {"sent", "answered", "resolved", "fallback"}
        others = "".join(f", {self.clicks[what]} {what}" for what in sorted(unanswered))
        return (
            f"{self.fault:{NAME_WIDTH}} {verdict:12} {self.took_s:5.1f} s"
            f"  clicks: {self.clicks['sent']} sent, {self.clicks['answered']} answered,"
            f" {self.clicks['resolved']} resolved{fallbacks}{others}"
            f"  IPs: {self.uses} uses, shortest rest {self.shortest_rest_s:.2f} s of {self.cooldown_s:g} s"
            f"  rows: {self.hits} hits, {self.traces} traces"
        )

    def details(self) -> list[str]:
        """Measured times, breaches, and where the evidence is."""
        lines = [
            f"  {name}: median {statistics.median(seconds):.2f} s, at most {max(seconds):.2f} s"
            for name, seconds in self.figures.items()
        ]
        lines += [f"  BREACH {breach}" for breach in self.breaches[:BREACHES_SHOWN]]
        if self.evidence:
            lines.append(f"  {len(self.breaches)} breaches; everything is in {self.evidence}")
        return lines

    def noticed(self, noticed_as: Collection[str]) -> bool:
        return any(breach.kind in noticed_as for breach in self.breaches)

    def mutant_line(self, noticed_as: Collection[str]) -> str:
        """Whether the fault noticed the mutant, in one line."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds().most_common()) or "no breach"
        verdict = "noticed" if self.noticed(noticed_as) else "UNNOTICED"
        return f"{self.fault:{NAME_WIDTH}} {self.mutant or '':20} {verdict:9} {self.took_s:5.1f} s  {kinds}"
