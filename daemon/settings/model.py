"""The settings: frozen, every bound validated and named with its unit.

Only what the settings are; where they are read from, and the words for what is wrong with them, is config_sources.py.
`config/tracepool.toml` documents each key; a test keeps the two the same.
"""

import contextlib
import ipaddress
import json
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from daemon import __version__
from daemon.errors import BadInput
from daemon.providers.proxies import Reach
from daemon.providers.settings import Provider
from daemon.web.urls import http_url

ENV_PREFIX = "TRACEPOOL_"
DEADLINE_MAX_S = 60
HONEST_USER_AGENT = f"tracepool/{__version__}"
TOKEN = re.compile(r"[\x21-\x7e]{16,512}")
HOST_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
)


T = TypeVar("T")
LIVE = "live"
Live = Annotated[T, LIVE]  # a reload takes it over: it is read at each use; other settings wait for a restart


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Database(Section):
    url: SecretStr | None = Field(None, description="PostgreSQL 14 or later; none: the embedded server")
    connections_max: int = Field(8, ge=2, le=100)
    connect_timeout_s: float = Field(5, ge=0.1, le=60)
    statement_timeout_s: float = Field(30, ge=1, le=600)

    @field_validator("url")
    @classmethod
    def _is_postgres(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None or not url.get_secret_value():
            return None
        if not url.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must be a PostgreSQL address such as postgresql://user@host:5432/tracepool")
        return url


class Click(Section):
    bind: Annotated[tuple[str, ...], NoDecode] = Field(("0.0.0.0:8080",), min_length=1)
    deadline_s: Live[float] = Field(10, ge=1, le=DEADLINE_MAX_S)
    waiting_max: Live[int] = Field(10_000, ge=1, le=100_000)
    head_timeout_s: float = Field(15, ge=1, le=120)
    head_bytes_max: int = Field(65_536, ge=8_192, le=1_048_576)
    connections_max: int = Field(20_000, ge=1, le=200_000)
    connections_per_address_max: int = Field(0, ge=0, le=200_000)
    backlog: int = Field(4_096, ge=16, le=65_535)
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()

    @field_validator("bind", "trusted_proxies", mode="before")
    @classmethod
    def _from_commas(cls, value: Any) -> Any:
        return from_commas(value)

    @field_validator("bind")
    @classmethod
    def _are_addresses(cls, binds: tuple[str, ...]) -> tuple[str, ...]:
        for bind in binds:
            check_bind(bind)
        return binds

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            if network == "unix":
                continue
            try:
                ipaddress.ip_network(network, strict=False)
            except ValueError:
                raise ValueError(f"{network!r} is not an address or network such as 10.0.0.0/8, nor unix") from None
        return networks


class Control(Section):
    bind: str = "127.0.0.1:8081"
    token: Live[SecretStr] = SecretStr("")
    hosts: Live[Annotated[tuple[str, ...], NoDecode]] = ()

    @field_validator("bind")
    @classmethod
    def _is_address(cls, bind: str) -> str:
        check_bind(bind)
        return bind

    @field_validator("token")
    @classmethod
    def _is_hard_to_guess(cls, token: SecretStr) -> SecretStr:
        return check_token(token)

    @field_validator("hosts", mode="before")
    @classmethod
    def _from_commas(cls, value: Any) -> Any:
        return from_commas(value)

    @field_validator("hosts")
    @classmethod
    def _are_names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not HOST_NAME.fullmatch(host):
                raise ValueError(f"{host!r} is not a host name such as tracepool.example, without scheme and port")
        return tuple(host.lower() for host in hosts)


class Pool(Section):
    lock_s: Live[float] = Field(90, ge=1, le=3_600)
    cooldown_s: Live[float] = Field(60, ge=0, le=86_400)
    failures_max: Live[int] = Field(5, ge=1, le=1_000)
    waiting_max: Live[int] = Field(500, ge=1, le=100_000)
    selection: Live[Literal["rested", "fastest"]] = "rested"
    batch_below_percent: Live[float] = Field(60, ge=0, le=100)


class Journal(Section):
    spool_bytes_max: int = Field(1024**3, ge=1024**2, le=1024**4)
    keep_s: Live[float] = Field(300, ge=0, le=86_400, description="how long applied entries stay in the spool")


class Node(Section):
    """This daemon among those that know the same database."""

    name: str = Field("", max_length=64, description="empty: the host's name")
    trust_s: float = Field(900, ge=2, le=86_400, description="how long it leases on without PostgreSQL")

    @field_validator("name")
    @classmethod
    def _is_printable(cls, name: str) -> str:
        if not name.isprintable() or name != name.strip():
            raise ValueError("must be printable, without blanks around it, such as tracer-1")
        return name

    def shown_name(self) -> str:
        return self.name or socket.gethostname()


class Trace(Section):
    workers: int = Field(1_000, ge=1, le=20_000)
    queue_max: int = Field(1_000, ge=1, le=100_000)
    timeout_s: Live[float] = Field(75, ge=1, le=3_599)
    retries_max: Live[int] = Field(2, ge=0, le=10)
    hop_timeout_s: float = Field(30, ge=0.1, le=600)
    connect_timeout_s: float = Field(10, ge=0.1, le=120)
    hops_max: Live[int] = Field(20, ge=1, le=100)
    headers_bytes_max: int = Field(65_536, ge=4_096, le=1_048_576)
    body_bytes_max: Live[int] = Field(16_384, ge=1_024, le=65_536)
    refresh_max_s: Live[float] = Field(10, ge=0, le=3_600)
    allow_private: Live[bool] = False
    user_agent: Live[str] = Field(HONEST_USER_AGENT, min_length=1, max_length=512, pattern=r"^[\x20-\x7e]+$")
    default_country: Live[str] = Field("", max_length=64)
    backend: Live[Literal["local", "service"]] = "local"
    service_url: Live[str] = Field("", max_length=2_048)
    service_token: Live[SecretStr] = SecretStr("")

    @field_validator("service_url")
    @classmethod
    def _is_web_url(cls, text: str) -> str:
        """Without the slash at its end."""
        if not text.strip():
            return ""
        try:
            url = http_url(text)[0]
        except BadInput:
            raise ValueError("must be an http or https URL such as https://tracer.example:8081, or empty") from None
        if any(mark in url for mark in "?#@"):
            raise ValueError("must have no query, fragment or login; the token is trace.service_token")
        return url.rstrip("/")

    @field_validator("service_token")
    @classmethod
    def _fits_a_header(cls, token: SecretStr) -> SecretStr:
        if not re.fullmatch(r"[\x21-\x7e]{0,4096}", token.get_secret_value()):
            raise ValueError("must have visible ASCII characters only")
        return token

    @model_validator(mode="after")
    def _a_service_has_an_address(self) -> "Trace":
        if self.backend == "service" and not self.service_url:
            raise ValueError('backend = "service" needs service_url, such as https://tracer.example:8081')
        return self


class Provision(Section):
    """How IPs are checked: `tracepool provision check`, and the probes of those that failed."""

    check_url: Live[str] = Field("", max_length=2_048, description="empty: nothing can be checked")
    check_timeout_s: Live[float] = Field(15, ge=0.1, le=60)
    check_slow_s: Live[float] = Field(5, ge=0.01, le=60)

    @field_validator("check_url")
    @classmethod
    def _is_web_url(cls, url: str) -> str:
        if not url.strip():
            return ""
        try:
            return http_url(url)[0].partition("#")[0]
        except BadInput:
            raise ValueError("must be an absolute http or https URL such as https://ip.example/, or empty") from None


class Maintenance(Section):
    interval_s: Live[float] = Field(60, ge=1, le=3_600)
    retention_days: Live[float] = Field(7, gt=0, le=3_650)
    delete_batch_rows: Live[int] = Field(5_000, ge=100, le=100_000)


class Log(Section):
    level: Live[Literal["debug", "info", "warning", "error"]] = "info"


class Settings(BaseSettings):
    """All settings, validated. Times in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_nested_delimiter="__", env_ignore_empty=False
    )

    role: Literal["full", "tracer"] = "full"
    state_dir: Path = Field(default_factory=lambda: default_state_dir(os.environ))
    database: Database = Database()
    click: Click = Click()
    control: Control = Control()
    pool: Pool = Pool()
    journal: Journal = Journal()
    node: Node = Node()
    trace: Trace = Trace()
    provision: Provision = Provision()
    maintenance: Maintenance = Maintenance()
    log: Log = Log()
    providers: Live[dict[str, Provider]] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """`Settings()` is the defaults alone: config_sources.load knows which source said what."""
        return (init_settings,)

    @field_validator("state_dir")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @model_validator(mode="after")
    def _a_trace_ends_before_its_lock(self) -> "Settings":
        if self.trace.timeout_s >= self.pool.lock_s:
            raise ValueError(
                f"trace.timeout_s ({self.trace.timeout_s:g}) must be below pool.lock_s ({self.pool.lock_s:g}): "
                "a lease must outlive its trace"
            )
        return self


def from_commas(value: Any) -> Any:
    """The environment holds lists as `a,b`, or as JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith('["'):
        with contextlib.suppress(ValueError):  # then it is no JSON, and its parts are complained of
            return json.loads(value)
    return tuple(part.strip() for part in value.split(",") if part.strip())


def check_token(token: SecretStr) -> SecretStr:
    """Raises ValueError unless `token` is empty or something that nobody guesses and a header can carry."""
    text = token.get_secret_value()
    if text and not TOKEN.fullmatch(text):
        raise ValueError("must have 16 to 512 visible ASCII characters: openssl rand -hex 32 makes one")
    return token


def reaches_of(settings: Settings) -> dict[str, Reach]:
    """How each provider that the settings name is reached; rows of others are dialled directly, without a login."""
    return {name: provider.reach(name, settings.pool.lock_s) for name, provider in settings.providers.items()}


def check_bind(bind: str) -> None:
    """Raises ValueError unless `bind` reads host:port, [v6]:port or unix:/path."""
    if bind.startswith("unix:/"):
        return
    host, _, port = bind.rpartition(":")
    bare_v6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not host or bare_v6 or not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ValueError(f"{bind!r} is not an address such as 0.0.0.0:8080, [::1]:8080 or unix:/run/tracepool.sock")


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """$STATE_DIRECTORY as systemd sets it, /var/lib/tracepool for root, else XDG's state home."""
    if given := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/tracepool")
    home = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "tracepool"
