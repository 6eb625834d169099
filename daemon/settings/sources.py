"""Reads the settings from their sources. An error names the source and the key.

A later source overrides an earlier one: the defaults, the TOML file, files of `$CREDENTIALS_DIRECTORY` (with names such
as `tracepool_database__url`), the environment (`TRACEPOOL_POOL__COOLDOWN_S=30`). No error contains a secret.
"""

import base64
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource, NestedSecretsSettingsSource, TomlConfigSettingsSource
from pydantic_settings.exceptions import SettingsError

from daemon import logs
from daemon.errors import BadSettings
from daemon.host import child
from daemon.printable import one_line
from daemon.providers.settings import Provider
from daemon.settings.connection_string import parameters_of
from daemon.settings.model import ENV_PREFIX, Settings

ENV_OF_OTHERS = frozenset({"TRACEPOOL_CONFIG", "TRACEPOOL_TEST_ALL", child.ROLE})
SECRETS = ("database.url", "control.token", "trace.service_token")
SYSTEM_CONFIG = Path("/etc/tracepool/tracepool.toml")
FORMER_KEYS = {("maintenance", "retention_days"): ("retention", "traces_days")}
"""Keys of earlier versions, which are still read: during an upgrade both versions read the same file."""


@dataclass(frozen=True, slots=True)
class Source:
    """One source of settings, with its values."""

    name: str
    values: Mapping[str, Any]

    def holds(self, path: tuple[Any, ...]) -> bool:
        here: Any = self.values
        for part in path:
            if not isinstance(here, Mapping) or part not in here:
                return False
            here = here[part]
        return True

    def locate(self, path: tuple[Any, ...]) -> str:
        """The source and the key, as errors name them."""
        if self.name == "environment":
            return "environment variable " + ENV_PREFIX + "__".join(str(part).upper() for part in path)
        return f"{self.name}: {'.'.join(map(str, path))}"


def config_path(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file to read: --config, $TRACEPOOL_CONFIG, /etc/tracepool/tracepool.toml if it exists, else none."""
    if given is not None:
        return given
    if named := environ.get("TRACEPOOL_CONFIG"):
        return Path(named)
    return SYSTEM_CONFIG if SYSTEM_CONFIG.exists() else None


def load(file: Path | None = None) -> Settings:
    """Read all sources and validate them. Raises BadSettings with one line for each error."""
    path = config_path(file, os.environ)
    try:
        sources = _read_sources(path)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise BadSettings(f"{path}: not valid TOML: {e}") from None
    except OSError as e:
        raise BadSettings(f"{e.filename or path}: {e.strerror}: give a readable file with --config") from None
    except SettingsError as e:
        raise BadSettings(f"environment: {e}") from None
    merged: dict[str, Any] = {}
    for source in sources:
        _merge(merged, _with_present_keys(source))
    try:
        return Settings(**merged)
    except ValidationError as e:
        raise BadSettings("\n".join(one_line(_explain(error, sources)) for error in e.errors())) from None


def with_processes(settings: Settings, given: str) -> Settings:
    """`given`: of the command line, which overrides all sources. Raises BadSettings."""
    try:
        return Settings(**{**dict(settings), "processes": given})
    except ValidationError as e:
        raise BadSettings(f"--processes: {str(e.errors()[0]['msg']).removeprefix('Value error, ')}") from None


def _read_sources(path: Path | None) -> list[Source]:
    sources = []
    if path is not None:
        with path.open("rb"):  # raises if it is missing, which pydantic-settings would ignore
            sources.append(Source(str(path), TomlConfigSettingsSource(Settings, path)()))
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and Path(credentials).is_dir():
        read = NestedSecretsSettingsSource(
            EnvSettingsSource(Settings),
            secrets_dir=credentials,
            secrets_prefix=ENV_PREFIX,
            secrets_nested_delimiter="__",
        )
        sources.append(Source(credentials, read()))
    environment = dict(EnvSettingsSource(Settings)())
    for name in os.environ:
        key = name.removeprefix(ENV_PREFIX).split("__")[0].lower()
        if name.startswith(ENV_PREFIX) and name not in ENV_OF_OTHERS and key not in Settings.model_fields:
            environment[key] = os.environ[name]
    sources.append(Source("environment", environment))
    return sources


def _with_present_keys(source: Source) -> Mapping[str, Any]:
    """The source's values under the present keys. Raises BadSettings if it has both keys of a setting."""
    values = dict(source.values)
    for old, (section, key) in FORMER_KEYS.items():
        if not source.holds(old) or not isinstance(values.get(section, {}), Mapping):
            continue
        if source.holds((section, key)):
            raise BadSettings(f"{source.locate(old)}: the earlier name of {section}.{key}, which is set too: remove it")
        others = dict(values[old[0]])
        values[section] = {**values.get(section, {}), key: others.pop(old[1])}
        values[old[0]] = others
    return values


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping):
            below = into.setdefault(key, {})
            if isinstance(below, dict):
                _merge(below, value)
                continue
        into[key] = value


def _explain(error: Any, sources: list[Source]) -> str:
    path = tuple(error["loc"])
    if not path:  # the rule about trace.timeout_s and pool.lock_s
        held = [s.locate(p) for p in (("trace", "timeout_s"), ("pool", "lock_s")) for s in sources if s.holds(p)]
        return f"{', '.join(held)}: " + str(error["msg"]).removeprefix("Value error, ")
    allowed = _range_of(path)
    former = next((old for old, present in FORMER_KEYS.items() if present == path), None)
    if former and not any(s.holds(path) for s in sources):  # the values have the present key
        path = former
    holder = next((s for length in range(len(path), 0, -1) for s in reversed(sources) if s.holds(path[:length])), None)
    where = holder.locate(path) if holder else ".".join(map(str, path))
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key; allowed here: {', '.join(sorted(_model_of(path).model_fields))}"
    what = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    given = error["input"]
    # Not only the keys of secrets: a secret may be given in place of its section.
    key = ".".join(map(str, path))
    secret = isinstance(given, Mapping) or path[0] == "providers" or any(f"{s}.".startswith(f"{key}.") for s in SECRETS)
    shown = "" if secret else f" (it is {given!r})"
    return f"{where}: {what}{shown}{allowed}"


def _model_of(path: tuple[Any, ...]) -> type[BaseModel]:
    """The model of the section that the key belongs to."""
    model: type[BaseModel] = Settings
    for part in path[:-1]:
        field = model.model_fields.get(str(part))
        below = field.annotation if field else Provider
        model = below if isinstance(below, type) and issubclass(below, BaseModel) else Provider
    return model


def _range_of(path: tuple[Any, ...]) -> str:
    """`; allowed: 1 to 60` if the field has bounds."""
    field = _model_of(path).model_fields.get(str(path[-1]))
    rules = field.metadata if field else ()
    bounds = {side: getattr(rule, side) for rule in rules for side in ("ge", "gt", "le") if hasattr(rule, side)}
    if "le" not in bounds:
        return ""
    low = f"{bounds['ge']:.9g}" if "ge" in bounds else f"above {bounds['gt']:.9g}"
    return f"; allowed: {low} to {bounds['le']:.9g}"


def hide_secrets(settings: Settings) -> None:
    """Mask every secret of the settings in every log line from now on."""
    for provider in settings.providers.values():
        password = provider.password.get_secret_value()
        logs.hide(password)
        if len(password) >= logs.SECRET_CHARACTERS_MIN:  # as in Proxy-Authorization (RFC 7617)
            logs.hide(base64.b64encode(f"{provider.username}:{password}".encode()).decode())
            for piece in logs.inside_base64(password):
                logs.hide(piece)
    logs.hide(settings.control.token.get_secret_value())
    logs.hide(settings.trace.service_token.get_secret_value())
    if settings.database.url is not None:
        parameters = parameters_of(settings.database.url.get_secret_value())
        for password in (parameters.get("password", ""), parameters.get("sslpassword", "")):
            for secret in (password, *re.split("[:@/#?]", password)):  # another program may split it at a delimiter
                logs.hide(secret)
