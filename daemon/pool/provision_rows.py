"""New rows of ip_rotation_pool, from a file or by number. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from daemon.database.records import Import, filled_text_in, import_rows, text_in
from daemon.errors import BadInput
from daemon.providers.proxies import DEFAULT_PORT, UnusableProxy, proxy_for
from daemon.web.endpoints import canonical_host

COLUMNS = ("ip_address", "ip_port", "country", "provider", "notes")
REQUIRED = ("ip_address",)
DEFAULT_COUNTRY, DEFAULT_PROVIDER = "us", "luna"
ADDRESS_CHARACTERS_MAX = 253
PORT_CHARACTERS_MAX = 20
WORD_CHARACTERS_MAX = 64
NOTES_CHARACTERS_MAX = 1_000
GENERATED_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class NewIP:
    """A valid proxy address, within the limits of its columns."""

    ip_address: str
    ip_port: str
    country: str
    provider: str
    notes: str | None


def new_ip(fields: Mapping[str, object]) -> NewIP:
    """Raises BadInput with the wrong column and the reason. A country keeps its spelling."""
    address = filled_text_in(fields, "ip_address", ADDRESS_CHARACTERS_MAX)
    if address is None:
        raise BadInput("ip_address is missing")
    port = fields.get("ip_port")
    if isinstance(port, int) and not isinstance(port, bool):
        fields = {**fields, "ip_port": str(port)}
    port = filled_text_in(fields, "ip_port", PORT_CHARACTERS_MAX) or DEFAULT_PORT
    proxy = proxy_for(address, port)
    if isinstance(proxy, UnusableProxy):
        raise BadInput(proxy.message)
    return NewIP(
        ip_address=canonical_host(address),
        ip_port=str(proxy.port),
        country=filled_text_in(fields, "country", WORD_CHARACTERS_MAX) or DEFAULT_COUNTRY,
        provider=filled_text_in(fields, "provider", WORD_CHARACTERS_MAX) or DEFAULT_PROVIDER,
        notes=text_in(fields, "notes", NOTES_CHARACTERS_MAX) or None,
    )


def read_ips(text: str) -> Import[NewIP]:
    """The IPs of a file. Raises BadInput if it cannot be read at all."""
    return import_rows(text, COLUMNS, REQUIRED, new_ip)


def generated_ips(prefix: str, count: int, port: str, country: str, provider: str) -> Iterator[NewIP]:
    """`prefix`1 to `prefix``count`. Raises BadInput for values that would be refused in a file."""
    if not 1 <= count <= GENERATED_MAX:
        raise BadInput(f"--count {count}: must be 1 to {GENERATED_MAX}")
    fields = {"ip_port": port, "country": country, "provider": provider}
    first = new_ip({**fields, "ip_address": f"{prefix}1"})
    new_ip({**fields, "ip_address": f"{prefix}{count}"})  # the longest one
    return (
        NewIP(f"{first.ip_address[:-1]}{number}", first.ip_port, first.country, first.provider, None)
        for number in range(1, count + 1)
    )
