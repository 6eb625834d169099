"""The offers that clicks name, as last read. Pure; pool/adoption.py keeps it current."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from daemon.click.answer import safe_location
from daemon.errors import BadInput

# A redirect must not run or show what a chain's server wrote, whatever an offer says.
RUNNING_SCHEMES = frozenset({"javascript", "vbscript", "data", "blob", "file", "about", "view-source"})


@dataclass(frozen=True, slots=True)
class Offer:
    """What an ad sells. `deadline_s`: its own longest wait, None for the setting. `user_agent`: default or visitor.

    `landing_schemes`: where its chain may land beyond http and https, such as market or intent.
    """

    id: UUID
    name: str
    tracking_url: str
    country: str
    deadline_s: float | None
    user_agent: str
    landing_schemes: frozenset[str] = frozenset()


class Offers:
    """The active offers by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, Offer] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def find(self, name: str) -> Offer | None:
        return self._by_name.get(name)

    def replace(self, rows: Iterable[Mapping[str, Any]]) -> list[str]:
        """Takes rows of `load_offers` for all there is. Gives one sentence for each offer that cannot be used."""
        offers, complaints = {}, []
        for row in rows:
            name = row["offer_name"]
            try:
                safe_location(row["final_url"])
            except BadInput as e:
                complaints.append(f"offer {name!r}: {e}: its clicks get 404 until final_url is corrected")
                continue
            offers[name] = Offer(
                id=row["id"],
                name=name,
                tracking_url=row["final_url"],
                country=row["target_country"],
                deadline_s=row["deadline_s"],
                user_agent=row["user_agent"],
                landing_schemes=frozenset(scheme.lower() for scheme in row["landing_schemes"]) - RUNNING_SCHEMES,
            )
        self._by_name = offers
        return complaints
