"""The model of the settings: frozen, each value with its bounds, units last in the names.

sources.py reads the settings and words their errors; values.py has the checks. `config/tracepool.toml` documents each
key, and a test compares the two.
"""

import os
import socket
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from daemon import __version__
from daemon.providers.proxies import LeasedProxy, ProxyAddress, UnusableProxy, proxy_for
from daemon.providers.settings import Provider
from daemon.settings import values
from daemon.web.privacy import Kept

ENV_PREFIX = "TRACEPOOL_"
DEADLINE_MAX_S = 60
HONEST_USER_AGENT = f"tracepool/{__version__}"

T = TypeVar("T")
LIVE = "live"
Live = Annotated[T, LIVE]
"""A setting that a reload changes, because it is read at each use. All others change with a restart."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # `schema` is a deprecated method of BaseModel, which nothing here calls

    class Database(Section):
        url: values.ConnectionString = Field(None, description="PostgreSQL 14 or later; none: the embedded server")
        schema: values.SchemaName = Field("public", description="of the tables")  # type: ignore[assignment]
        connections_max: int = Field(8, ge=2, le=100)
        connect_timeout_s: float = Field(5, ge=0.1, le=60)
        statement_timeout_s: float = Field(30, ge=1, le=600)


class Click(Section):
    bind: values.BindAddresses = Field(("0.0.0.0:8080",), min_length=1)
    deadline_s: Live[float] = Field(10, ge=1, le=DEADLINE_MAX_S)
    waiting_max: Live[int] = Field(10_000, ge=1, le=100_000)
    head_timeout_s: float = Field(15, ge=1, le=120)
    head_bytes_max: int = Field(65_536, ge=8_192, le=1_048_576)
    connections_max: int = Field(20_000, ge=1, le=200_000)
    connections_per_address_max: int = Field(0, ge=0, le=200_000)
    backlog: int = Field(4_096, ge=16, le=65_535)
    trusted_proxies: values.Networks = ()
    forwarded_header: values.HeaderName = "auto"
    country_param: Live[str] = Field("", max_length=255, pattern=r"^[^\x00-\x1f]*$", description="empty: none")
    country_header: values.CountryHeader = Field("", description="empty: none")
    country_file: Live[values.FilePath] = Field("", max_length=4_096, description="mmdb; empty: none")
    repeat_s: Live[float] = Field(30, ge=0, le=600)
    fallback_url: Live[values.FallbackUrl] = Field("", max_length=8_192, description="empty: no fallback")

    @model_validator(mode="after")
    def _a_header_has_a_trusted_proxy(self) -> "Click":
        if self.country_header and not self.trusted_proxies:
            raise ValueError(
                f"country_header = {self.country_header!r} needs trusted_proxies: the header is believed only from them"
            )
        return self


class Control(Section):
    bind: values.BindAddress = "127.0.0.1:8081"
    token: Live[values.OwnToken] = SecretStr("")
    hosts: Live[values.HostNames] = ()


class Pool(Section):
    lock_s: Live[float] = Field(90, ge=1, le=3_600)
    cooldown_s: Live[float] = Field(60, ge=0, le=86_400)
    failures_max: Live[int] = Field(5, ge=1, le=1_000)
    waiting_max: Live[int] = Field(500, ge=1, le=100_000)
    selection: Live[Literal["rested", "fastest"]] = "rested"
    batch_below_percent: Live[float] = Field(60, ge=0, le=100)
    background_below_percent: Live[float] = Field(80, ge=0, le=100)


class Journal(Section):
    spool_bytes_max: int = Field(1024**3, ge=1024**2, le=1024**4)
    keep_s: Live[float] = Field(300, ge=0, le=86_400, description="how long applied entries stay in the spool")


class Node(Section):
    """This daemon among the nodes of one database."""

    name: values.NodeName = Field("", max_length=64, description="empty: the host's name")
    trust_s: float = Field(900, ge=2, le=86_400, description="how long it leases on without PostgreSQL")

    def shown_name(self) -> str:
        return self.name or socket.gethostname()


class Trace(Section):
    workers: int = Field(1_000, ge=1, le=20_000)
    queue_max: int = Field(1_000, ge=1, le=100_000)
    timeout_s: Live[float] = Field(75, ge=1, le=3_599)
    retries_max: Live[int] = Field(2, ge=0, le=10)
    background_wait_s: Live[float] = Field(3_600, ge=60, le=86_400, description="of a background click, for an IP")
    hop_timeout_s: float = Field(30, ge=0.1, le=600)
    connect_timeout_s: float = Field(10, ge=0.1, le=120)
    hops_max: Live[int] = Field(21, ge=1, le=100)
    headers_bytes_max: int = Field(65_536, ge=4_096, le=1_048_576)
    body_bytes_max: Live[int] = Field(16_384, ge=1_024, le=65_536)
    refresh_max_s: Live[float] = Field(10, ge=0, le=3_600)
    script_workers: values.Processes = "auto"
    allow_private: Live[bool] = False
    user_agent: Live[str] = Field(HONEST_USER_AGENT, min_length=1, max_length=512, pattern=r"^[\x20-\x7e]+$")
    default_country: Live[str] = Field("", max_length=64)
    backend: Live[Literal["local", "service"]] = "local"
    tracer: Live[Literal["http", "auto", "browser"]] = "http"
    browser_max: Live[int] = Field(8, ge=1, le=200)
    browser_traces_max: Live[int] = Field(1_000, ge=1, le=1_000_000)
    service_url: Live[values.ServiceUrl] = Field("", max_length=2_048)
    service_token: Live[values.HeaderToken] = SecretStr("")

    @model_validator(mode="after")
    def _a_service_has_an_address(self) -> "Trace":
        if self.backend == "service" and not self.service_url:
            raise ValueError('backend = "service" needs service_url, such as https://tracer.example:8081')
        return self


class Provision(Section):
    """How IPs are checked: `tracepool provision check`, and the probes of failed IPs."""

    check_url: Live[values.CheckUrl] = Field("", max_length=2_048, description="empty: nothing can be checked")
    check_timeout_s: Live[float] = Field(15, ge=0.1, le=60)
    check_slow_s: Live[float] = Field(5, ge=0.01, le=60)


class Maintenance(Section):
    interval_s: Live[float] = Field(60, ge=1, le=3_600)
    delete_batch_rows: Live[int] = Field(5_000, ge=100, le=100_000)


class Retention(Section):
    """How long rows are kept, see maintenance/retention.py."""

    hits_days: Live[float] = Field(90, gt=0, le=3_650)
    traces_days: Live[float] = Field(7, gt=0, le=3_650)
    statistics_days: Live[float] = Field(400, gt=0, le=3_650)


class Privacy(Section):
    """What is kept of visitors, see web/privacy.py."""

    visitor_address: Live[Kept] = "full"
    user_agent: Live[Kept] = "full"
    referrer: Live[Kept] = "full"

    @property
    def keeps_all(self) -> bool:
        return self.visitor_address == self.user_agent == self.referrer == "full"


class Log(Section):
    level: Live[Literal["debug", "info", "warning", "error"]] = "info"


class Settings(BaseSettings):
    """All settings, validated. Times in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_nested_delimiter="__", env_ignore_empty=False
    )

    role: Literal["full", "tracer"] = "full"
    processes: values.Processes = 1
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
    retention: Retention = Retention()
    privacy: Privacy = Privacy()
    log: Log = Log()
    providers: Live[dict[str, Provider]] = {}

    @classmethod
    def settings_customise_sources(cls, *_: Any, **given: Any) -> tuple[PydanticBaseSettingsSource, ...]:
        """`Settings()` has the defaults only. sources.load reads the other sources, because errors name the source."""
        return (given["init_settings"],)

    @field_validator("state_dir")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @field_validator("processes")
    @classmethod
    def _a_tracer_is_one_process(cls, processes: values.Processes, info: ValidationInfo) -> values.Processes:
        if processes != 1 and info.data.get("role") == "tracer":
            raise ValueError('must be 1 with role = "tracer": start several tracers, each with its control.bind')
        return processes

    @model_validator(mode="after")
    def _a_trace_ends_before_its_lock(self) -> "Settings":
        if self.trace.timeout_s >= self.pool.lock_s:
            raise ValueError(
                f"trace.timeout_s ({self.trace.timeout_s:g}) must be below pool.lock_s ({self.pool.lock_s:g}): "
                "a lease must outlive its trace"
            )
        return self


def proxy_of(settings: Settings, leased: LeasedProxy) -> ProxyAddress | UnusableProxy:
    """The proxy of a leased IP. Without settings of its provider it is connected to directly, without a login."""
    provider, lock_s = settings.providers.get(leased.provider), settings.pool.lock_s
    named = {"name": leased.provider, "country": leased.country, "lease": leased.lease}
    return proxy_for(leased.address, leased.port, provider, lock_s=lock_s, login=leased.login, **named)


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """$STATE_DIRECTORY as systemd sets it, /var/lib/tracepool for root, else XDG's state home."""
    if given := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/tracepool")
    home = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "tracepool"
