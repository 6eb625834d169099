"""Forgets a person at an operator's request: by the address of a visitor, or by a click id. Units of work.

The action log names no person: of an address it has the network, of a click id the beginning of its SHA-256.
"""

import ipaddress
from dataclasses import dataclass

from daemon.control.actions import Action, recorded
from daemon.database.postgres import Database
from daemon.errors import BadInput
from daemon.journal import forgetting
from daemon.journal.forgetting import Found
from daemon.journal.personal import CHARACTERS_MAX, CLICK_ID_CHARACTERS_MIN, Kind, person_of, shown
from daemon.web.forwarded import canonical
from daemon.web.privacy import truncated_address


@dataclass(frozen=True, slots=True)
class Request:
    """A person to forget. `network`: the truncated address of a visitor."""

    kind: Kind
    value: str
    network: str | None = None

    @property
    def subject(self) -> str:
        """How the action log names the person."""
        return shown(person_of(self.kind, self.value), self.network)


def request_of(visitor: str | None, click_id: str | None) -> Request:
    """Raises BadInput unless exactly one is given, and can be what it should be."""
    if (visitor is None) == (click_id is None):
        raise BadInput("say whom to forget: the address of a visitor, or a click id, and not both")
    if visitor is not None:
        address = _address(visitor.strip())
        return Request("visitor", address, truncated_address(address))
    value = (click_id or "").strip()
    if not CLICK_ID_CHARACTERS_MIN <= len(value) <= CHARACTERS_MAX or "\0" in value:
        raise BadInput(
            f"a click id has {CLICK_ID_CHARACTERS_MIN} to {CHARACTERS_MAX} characters: a shorter text would be found in"
            " the clicks of other people too"
        )
    return Request("click_id", value)


def _address(text: str) -> str:
    """As rows have it: an address, or the network of a truncated one."""
    try:
        return canonical(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        if "/" in text and truncated_address(text) == text:
            return text
    raise BadInput(f"{text[:100]!r} is no address such as 203.0.113.77, nor a network as rows have it: 203.0.113.0/24")


async def find(database: Database, request: Request) -> Found:
    """The clicks of the person in the tables. It may take minutes: the whole tables are read."""
    return await database.unlimited(forgetting.find, request.kind, request.value)


async def forget(database: Database, request: Request, who: str | None) -> Found:
    """Blanks the person's rows, and from now on the entries that come. `who`: None if the caller writes the action."""
    await database.work(forgetting.begin, request.kind, request.value)
    if who is None:
        return await database.unlimited(forgetting.forget, request.kind, request.value)

    def described(found: Found) -> Action:
        return Action("forget person", request.subject, {"hits": len(found.hits), "traces": len(found.traces)})

    return await database.unlimited(recorded, who, described, forgetting.forget, request.kind, request.value)
