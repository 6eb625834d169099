"""The demo's IPs, offers and five clicks, and the check that each click ended as its offer promises.

The check compares what the ad network saw and what the visitor got, not only what the daemon logged.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from daemon.demo.history import OriginEvent, check

ADDRESSES = {
    "us": tuple(f"127.1.0.{number}" for number in range(1, 11)),
    "uk": tuple(f"127.1.0.{number}" for number in range(11, 16)),
}
ALL_ADDRESSES = tuple(address for addresses in ADDRESSES.values() for address in addresses)
LATE_MAX_MS = 1_000
"""How far from the deadline the client may receive a fallback at the deadline; it shares a small machine."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer and its chain: `redirects` redirects and the landing page, each answered after `delay_ms`."""

    name: str
    country: str
    redirects: int
    delay_ms: int
    landing: str | None
    promise: Literal["resolved", "deadline"]

    def __str__(self) -> str:
        hops, each_s = self.redirects + 1, self.delay_ms / 1000
        return f"{hops} hops of {each_s:g} s"


OFFERS = (
    Offer("summer-sale", "us", 4, 200, "www.shop.example", "resolved"),
    Offer("tea-time", "uk", 3, 150, "www.tea.example", "resolved"),
    Offer("slow-boat", "us", 5, 3_000, None, "deadline"),
)
CLICKS = (*(OFFERS[0],) * 3, OFFERS[1], OFFERS[2])


@dataclass(frozen=True, slots=True)
class ClickResult:
    """How a click ended. `hops`: requests that the ad network answered before the visitor got the redirect.

    `wait_ms` was measured by the visitor. `ip`, `outcome` and `reason` come from the daemon's log; None where it has
    no line of the click. `location` is None if the visitor got no redirect.
    """

    offer: str
    country: str
    gclid: str
    ip: str | None
    hops: int
    wait_ms: int
    outcome: str | None
    reason: str | None
    location: str | None

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Terms:
    """The tracking URL of each offer, by its name, and the daemon's settings during the clicks."""

    tracking_urls: dict[str, str]
    deadline_s: float
    cooldown_s: float


def hops_of(seen: Iterable[OriginEvent], ip: str | None, began_s: float, ended_s: float) -> list[OriginEvent]:
    """The requests from an IP that the ad network received and answered between two times (CLOCK_MONOTONIC)."""
    return [event for event in seen if event.address == ip and began_s <= event.began_s and event.ended_s <= ended_s]


def broken_promises(results: Sequence[ClickResult], seen: Collection[OriginEvent], terms: Terms) -> list[str]:
    """Return a line for each broken promise."""
    offers = {offer.name: offer for offer in OFFERS}
    broken = []
    for result in results:
        offer = offers[result.offer]
        judge = _not_resolved if offer.promise == "resolved" else _not_at_the_deadline
        for why in (judge(result, offer, seen, terms), _wrong_ip(result, offer)):
            if why is not None:
                broken.append(f"{result.offer} ({result.gclid}): {why}")
    shared = [ip for ip, times in Counter(result.ip for result in results if result.ip).items() if times > 1]
    broken += [f"{ip} served more than one of the clicks" for ip in shared]
    broken += [str(breach) for breach in check(seen, cooldown_s=terms.cooldown_s, addresses=ALL_ADDRESSES)]
    return broken


def _wrong_ip(result: ClickResult, offer: Offer) -> str | None:
    if result.ip in ADDRESSES[offer.country]:
        return None
    return f"its IP must be one of {offer.country}, but is {result.ip or 'unknown'}"


def _not_resolved(result: ClickResult, offer: Offer, seen: Collection[OriginEvent], _: Terms) -> str | None:
    if result.outcome != "resolved" or result.location is None:
        return f"it must be resolved, but the outcome is {_ending(result)}"
    landed = urlsplit(result.location)
    params = parse_qsl(landed.query, keep_blank_values=True)
    minted = [str(event.cid) for event in seen if event.address == result.ip and event.hop == 0]
    if landed.hostname != offer.landing:
        return f"it must land on {offer.landing}, but goes to {result.location}"
    if [value for name, value in params if name == "cid"] != minted:
        return (
            f"it must carry cid={' and '.join(minted) or 'none'}, as its chain made it, but goes to {result.location}"
        )
    if [value for name, value in params if name == "gclid"] != [result.gclid]:
        return f"it must carry its own gclid once, but goes to {result.location}"
    if result.hops != offer.redirects + 1:
        return f"its chain has {offer.redirects + 1} hops, but the ad network saw {result.hops}"
    return None


def _not_at_the_deadline(result: ClickResult, offer: Offer, _: Collection[OriginEvent], terms: Terms) -> str | None:
    if (result.outcome, result.reason) != ("fallback", "deadline"):
        return f"it must fall back at the deadline, but the outcome is {_ending(result)}"
    if abs(result.wait_ms - terms.deadline_s * 1000) > LATE_MAX_MS:
        return f"it must be answered at the deadline, {terms.deadline_s:g} s, but was after {result.wait_ms / 1000:g} s"
    expected = f"{terms.tracking_urls[offer.name]}?gclid={result.gclid}"
    if result.location != expected:
        return f"it must go to {expected}, but goes to {result.location}"
    return None


def _ending(result: ClickResult) -> str:
    return f"{result.outcome} ({result.reason})" if result.reason else result.outcome or "no redirect at all"
