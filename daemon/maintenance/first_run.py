"""The first steps of a new installation, with what is done already. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from shlex import quote as shell_quote
from typing import Literal
from urllib.parse import quote

COUNTRY = "us"
OFFER = "winter-sale"


@dataclass(frozen=True, slots=True)
class Step:
    """`count`: IPs, active offers, or clicks of the last minute. `command`: what to run for this step."""

    key: Literal["ips", "offer", "ad"]
    title: str
    done: bool
    count: int
    detail: str
    command: str


@dataclass(frozen=True, slots=True)
class FirstRun:
    """The three steps in their order. The first one that is not done is the next."""

    steps: tuple[Step, ...]

    @property
    def next(self) -> Step:
        return next(step for step in self.steps if not step.done)

    def lines(self) -> list[str]:
        """For a terminal."""
        lines = ["first steps:"]
        for number, step in enumerate(self.steps, start=1):
            lines.append(f"  [{'x' if step.done else ' '}] {number}. {step.title}: {step.detail}")
            if not step.done:
                lines.append(f"         {step.command}")
        return lines


@dataclass(frozen=True, slots=True)
class Installation:
    """`ips` by country; `offers`: the names of the active ones by country, of `offers_in_all`.

    `has_clicks`: a click has come once. `clicks`: of the last minute. `click_bind`: the first address of click.bind.
    """

    ips: Mapping[str, int]
    offers: Mapping[str, Sequence[str]]
    offers_in_all: int
    has_clicks: bool
    clicks: int
    click_bind: str


def first_run(found: Installation) -> FirstRun | None:
    """None once IPs and offers exist and a click has come."""
    steps = (_ips(found), _offer(found), _ad(found))
    return None if all(step.done for step in steps) else FirstRun(steps)


def _ips(found: Installation) -> Step:
    count = sum(found.ips.values())
    countries = [country for country in sorted(found.ips) if found.ips[country]]
    country = next(iter(sorted(found.offers)), COUNTRY)
    detail = f"{count:,} IPs in {', '.join(countries)}" if count else "a list of proxies, or sessions of a gateway"
    command = f"tracepool provision import ips.csv --country {shell_quote(country)}"
    return Step("ips", "Import IPs", bool(count), count, detail, command)


def _offer(found: Installation) -> Step:
    names = [name for several in found.offers.values() for name in several]
    country = max(found.ips, key=lambda name: found.ips[name], default=COUNTRY)
    active = len(set(names))
    detail = f"{active} of {found.offers_in_all} offers are active" if found.offers_in_all else "what the ad leads to"
    command = f"tracepool offers add {OFFER} 'https://ads.example/click?id=42' --country {shell_quote(country)}"
    return Step("offer", "Add an offer", bool(found.offers_in_all), active, detail, command)


def _ad(found: Installation) -> Step:
    name = next((several[0] for several in found.offers.values() if several), OFFER)
    link = f"/track-hit?offer={quote(name, safe='')}"
    done = found.has_clicks or found.clicks > 0
    detail = "clicks come" if done else f"its link is https://YOUR-HOST{link}; this is a first click by hand"
    return Step("ad", "Point the ad here", done, found.clicks, detail, f"curl -i {_reachable(found.click_bind)}{link}'")


def _reachable(bind: str) -> str:
    """The click face's address on this machine, for curl, with an open quote."""
    host, _, port = bind.rpartition(":")
    if host == "unix":
        return f"--unix-socket {port} 'http://localhost"
    return f"'http://{f'127.0.0.1:{port}' if host in ('0.0.0.0', '[::]', '') else bind}"  # noqa: S104
