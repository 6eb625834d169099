"""New rows of ip_rotation_pool, from a file or by number. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from daemon.countries import canonical, country_in, is_country
from daemon.database.records import Columns, Import, RefusedRecord, filled_text_in, import_rows, text_in
from daemon.errors import BadInput
from daemon.pool.proxy_texts import ProxyText, read_proxy
from daemon.providers.proxies import DEFAULT_PORT
from daemon.providers.settings import Provider
from daemon.web.endpoints import canonical_host, canonical_port, endpoint_name, is_slot_number

COLUMNS = ("ip_address", "ip_port", "country", "provider", "notes", "username", "password")
ALIASES = {
    **dict.fromkeys(("ip", "address", "host", "hostname", "server", "proxy", "proxy_address"), "ip_address"),
    **dict.fromkeys(("port", "proxy_port"), "ip_port"),
    **dict.fromkeys(("country_code", "cc", "geo"), "country"),
    **dict.fromkeys(("user", "user_name", "login", "proxy_username", "proxy_user"), "username"),
    **dict.fromkeys(("pass", "pw", "pwd", "proxy_password", "proxy_pass"), "password"),
    **dict.fromkeys(("note", "comment", "comments"), "notes"),
}
FILE = Columns(COLUMNS, ("ip_address",), ALIASES, listed="ip_address")
DEFAULT_COUNTRY, DEFAULT_PROVIDER = "us", "luna"
ADDRESS_CHARACTERS_MAX = 2_500  # of a cell, which may hold a login
PORT_CHARACTERS_MAX = 20
WORD_CHARACTERS_MAX = 64
LOGIN_CHARACTERS_MAX = 1_024
NOTES_CHARACTERS_MAX = 1_000
GENERATED_MAX = 1_000_000
COUNTRIES_NAMED_MAX = 20

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_NO_PROVIDERS: Mapping[str, Provider] = {}


@dataclass(frozen=True, slots=True)
class NewIP:
    """A valid row: the endpoint is canonical, and the texts are within the limits of their columns."""

    ip_address: str
    ip_port: str
    country: str
    provider: str
    notes: str | None
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return endpoint_name(self.ip_address, self.ip_port)


def new_ip(fields: Mapping[str, object], providers: Mapping[str, Provider] = _NO_PROVIDERS) -> NewIP:
    """Raises BadInput with the wrong column and the reason. A country that SQL can compare keeps its spelling.

    `ip_address` may hold more, as in vendors' lists: see proxy_texts.py. `providers` are those of the settings.
    """
    text = fields.get("ip_address")
    if isinstance(text, str):
        fields = {**fields, "ip_address": text.replace("\t", " ")}
    text = filled_text_in(fields, "ip_address", ADDRESS_CHARACTERS_MAX)
    if text is None:
        raise BadInput("ip_address is missing", field="ip_address")
    proxy = _proxy(text)
    port = fields.get("ip_port")
    if isinstance(port, int) and not isinstance(port, bool):
        fields = {**fields, "ip_port": str(port)}
    username, password = _login(fields, proxy)
    ip = NewIP(
        ip_address=proxy.host,
        ip_port=_port(text_in(fields, "ip_port", PORT_CHARACTERS_MAX) or None, proxy.port),
        country=_country(text_in(fields, "country", WORD_CHARACTERS_MAX) or DEFAULT_COUNTRY),
        provider=text_in(fields, "provider", WORD_CHARACTERS_MAX) or DEFAULT_PROVIDER,
        notes=text_in(fields, "notes", NOTES_CHARACTERS_MAX) or None,
        username=username,
        password=password,
    )
    _check_provider(ip, proxy.scheme, providers.get(ip.provider))
    return ip


def _proxy(text: str) -> ProxyText:
    if not _PLAIN.issuperset(text):
        try:
            return read_proxy(text)
        except BadInput as e:
            raise BadInput(str(e), field="ip_address") from None
    try:
        return ProxyText(canonical_host(text), None)
    except BadInput as e:
        raise BadInput(f"ip_address {e}", field="ip_address") from None


def _port(given: str | None, listed: str | None) -> str:
    if given is None:
        return listed or DEFAULT_PORT
    try:
        port = canonical_port(given)
    except BadInput as e:
        raise BadInput(f"ip_port {e}", field="ip_port") from None
    if listed not in (None, port):
        raise BadInput(f"ip_address has the port {listed}, and ip_port is {port}: write one of them")
    return port


def _country(text: str) -> str:
    try:
        return text if is_country(canonical(text)) else country_in(text)
    except BadInput as e:
        raise BadInput(str(e), field="country") from None


def _login(fields: Mapping[str, object], proxy: ProxyText) -> tuple[str | None, str | None]:
    username = text_in(fields, "username", LOGIN_CHARACTERS_MAX) or None
    password = text_in(fields, "password", LOGIN_CHARACTERS_MAX) or None
    if proxy.username is not None:
        if username is not None or password is not None:
            raise BadInput("ip_address holds a login, and so do username and password: write one of them")
        text_in({"username": proxy.username}, "username", LOGIN_CHARACTERS_MAX)
        text_in({"password": proxy.password}, "password", LOGIN_CHARACTERS_MAX)
        username, password = proxy.username, proxy.password
    if username is not None and ":" in username:
        raise BadInput("username holds a colon, which would end it (RFC 7617)")
    if password is not None and username is None:
        raise BadInput("password is given without a username")
    return username, password


def _check_provider(ip: NewIP, scheme: str | None, provider: Provider | None) -> None:
    """Raises BadInput if the IP cannot be dialled as its provider's settings say."""
    expected = provider.scheme if provider else "http"
    if scheme not in (None, expected):
        raise BadInput(
            f"it is a {scheme} proxy, and the IPs of the provider {ip.provider!r} are dialled as {expected}: name"
            f" another provider, or set providers.{ip.provider}.scheme (http, https or socks5)"
        )
    if is_slot_number(ip.ip_address) and (ip.username or not (provider and provider.gateway)):
        raise BadInput(f"ip_address {ip.ip_address!r} is a number, which is only for sessions at a provider's gateway")


def read_ips(
    text: str, providers: Mapping[str, Provider] = _NO_PROVIDERS, defaults: Mapping[str, str] | None = None
) -> Import[NewIP]:
    """The IPs of a file, without repetitions of an endpoint; `defaults` for columns without text.

    Raises BadInput if the file cannot be read at all.
    """
    given = defaults or {}
    found = import_rows(text, FILE, lambda fields: new_ip({**given, **fields}, providers))
    first: dict[tuple[str, str, str | None], tuple[int, NewIP]] = {}
    repeated: list[RefusedRecord] = []
    for line, ip in zip(found.lines, found.rows, strict=True):
        first_line, known = first.setdefault((ip.ip_address, ip.ip_port, ip.username), (line, ip))
        if known is not ip:
            differs = "" if ip.password == known.password else ", with another password, which is not used"
            repeated.append(RefusedRecord(line, f"{ip.name} is on line {first_line} already{differs}"))
    lines, rows = zip(*first.values(), strict=True) if first else ((), ())
    return replace(found, rows=rows, lines=lines, repeated=tuple(repeated))


def generated_ips(
    prefix: str | None, count: int, port: str, country: str, provider: str, count_max: int = GENERATED_MAX
) -> Iterator[NewIP]:
    """`prefix`1 to `prefix``count`. Raises BadInput for values that would be refused in a file."""
    prefix = f"{provider.strip()}-{country.strip()}-" if prefix is None else prefix
    if not 1 <= count <= count_max:
        raise BadInput(f"count must be 1 to {count_max}, not {count}", field="count")
    fields = {"ip_port": port, "country": country, "provider": provider}
    for name in ("country", "provider"):
        filled_text_in(fields, name, WORD_CHARACTERS_MAX)
    first = new_ip({**fields, "ip_address": f"{prefix}1"})
    new_ip({**fields, "ip_address": f"{prefix}{count}"})  # the longest one
    return (
        NewIP(f"{first.ip_address[:-1]}{number}", first.ip_port, first.country, first.provider, None)
        for number in range(1, count + 1)
    )
