"""Settings: every bound is checked, and every error names the source, the key and what is allowed."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from daemon.cli.serve import serve
from daemon.errors import BadSettings
from daemon.settings.model import Settings, default_state_dir
from daemon.settings.sources import config_path, load
from daemon.settings.values import bind_address

CANARY = "c4n4ry-pa55word"


@pytest.fixture(autouse=True)
def only_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("TRACEPOOL_") or name in ("CREDENTIALS_DIRECTORY", "STATE_DIRECTORY"):
            monkeypatch.delenv(name)
    monkeypatch.setattr("daemon.settings.sources.SYSTEM_CONFIG", Path("/nonexistent/tracepool.toml"))


def written(directory: Path, text: str) -> Path:
    file = directory / "tracepool.toml"
    file.write_text(text)
    return file


def complaint(file: Path | None = None) -> str:
    with pytest.raises(BadSettings) as caught:
        load(file)
    return str(caught.value)


def bounds() -> list[tuple[str, str, float, float, bool]]:
    """(section, key, lowest, highest, whether the lowest value is allowed) of every number."""
    found = []
    for section, field in Settings.model_fields.items():
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            continue
        for key, inner in field.annotation.model_fields.items():
            if inner.annotation not in (int, float):
                continue
            rules: dict[str, float] = {
                side: getattr(rule, side)
                for rule in inner.metadata
                for side in ("ge", "gt", "le")
                if hasattr(rule, side)
            }
            assert "le" in rules, f"{section}.{key} has no upper bound"
            assert rules.keys() & {"ge", "gt"}, f"{section}.{key} has no lower bound"
            low = rules["ge"] if "ge" in rules else rules["gt"]
            found.append((section, key, low, rules["le"], "ge" in rules))
    return found


BOUNDS = bounds()
# Further values, so that a value at its bound satisfies trace.timeout_s < pool.lock_s.
BESIDE: dict[tuple[str, str], dict[str, Any]] = {
    ("pool", "lock_s"): {"trace": {"timeout_s": 1}},
    ("trace", "timeout_s"): {"pool": {"lock_s": 3_600}},
}


def test_there_are_bounds_to_test() -> None:
    assert len(BOUNDS) > 20


@pytest.mark.parametrize(("section", "key", "low", "high", "inclusive"), BOUNDS)
def test_a_number_is_taken_at_its_bounds_and_refused_beyond(
    section: str, key: str, low: float, high: float, inclusive: bool, tmp_path: Path
) -> None:
    beside = BESIDE.get((section, key), {})
    at_the_bounds = [low if inclusive else low + 0.5, high]
    if (section, key) == ("pool", "lock_s"):
        at_the_bounds[0] = low + 1  # no trace.timeout_s is below 1 s
    for value in at_the_bounds:
        settings = Settings(**{**beside, section: {key: value}})
        assert getattr(getattr(settings, section), key) == value
    step = 1 if isinstance(low, int) else 0.01
    for value in (low - step if inclusive else low, high + step):
        beyond: dict[str, Any] = {section: {key: value}}
        with pytest.raises(ValidationError):
            Settings(**beyond)
        said = complaint(written(tmp_path, f"[{section}]\n{key} = {value}\n"))
        assert said.startswith(f"{tmp_path}/tracepool.toml: {section}.{key}: ")
        assert f"allowed: {'' if inclusive else 'above '}{low:.9g} to {high:.9g}" in said


@pytest.mark.parametrize("odd", ["nan", "inf", "-inf", '"many"', "[]", "{}"])
@pytest.mark.parametrize(("section", "key"), [(b[0], b[1]) for b in BOUNDS])
def test_a_number_is_a_number(section: str, key: str, odd: str, tmp_path: Path) -> None:
    assert f"{section}.{key}: " in complaint(written(tmp_path, f"[{section}]\n{key} = {odd}\n"))


def test_a_trace_has_to_end_before_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings(trace={"timeout_s": 89.9}, pool={"lock_s": 90}).trace.timeout_s == 89.9
    said = complaint(written(tmp_path, "[trace]\ntimeout_s = 90\n"))
    assert f"{tmp_path}/tracepool.toml: trace.timeout_s" in said
    assert "pool.lock_s" in said
    monkeypatch.setenv("TRACEPOOL_POOL__LOCK_S", "60")
    said = complaint(written(tmp_path, "[trace]\ntimeout_s = 70\n"))
    assert "TRACEPOOL_POOL__LOCK_S" in said
    assert "tracepool.toml: trace.timeout_s" in said


def test_the_later_source_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, '[pool]\ncooldown_s = 11\nlock_s = 111\n[database]\nurl = "postgresql://file/db"\n')
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "tracepool_database__url").write_text("postgresql://credentials/db\n")
    (credentials / "tracepool_providers__luna__password").write_text(f"{CANARY}\n")
    (credentials / "somebody_elses").write_text("not ours")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    monkeypatch.setenv("TRACEPOOL_POOL__COOLDOWN_S", "22")
    settings = load(file)
    assert (settings.pool.cooldown_s, settings.pool.lock_s, settings.pool.failures_max) == (22, 111, 5)
    assert settings.database.url is not None
    assert settings.database.url.get_secret_value() == "postgresql://credentials/db"
    assert settings.providers["luna"].password.get_secret_value() == CANARY
    monkeypatch.setenv("TRACEPOOL_DATABASE__URL", "postgresql://environment/db")
    url = load(file).database.url
    assert url is not None
    assert url.get_secret_value() == "postgresql://environment/db"


@pytest.mark.parametrize(
    ("text", "binds"),
    [
        ("127.0.0.1:8080", ("127.0.0.1:8080",)),
        ("127.0.0.1:8080,[::1]:8080", ("127.0.0.1:8080", "[::1]:8080")),
        ("[::1]:8080", ("[::1]:8080",)),
        ("[::1]:8080, unix:/run/tracepool.sock ", ("[::1]:8080", "unix:/run/tracepool.sock")),
        ('["127.0.0.1:8080", "[::1]:8080"]', ("127.0.0.1:8080", "[::1]:8080")),
    ],
)
def test_a_list_in_the_environment_is_separated_by_commas_or_json(
    text: str, binds: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPOOL_CLICK__BIND", text)
    assert load().click.bind == binds


def test_trusted_proxies_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPOOL_CLICK__TRUSTED_PROXIES", "10.0.0.0/8,2001:db8::/32, 192.0.2.1")
    assert load().click.trusted_proxies == ("10.0.0.0/8", "2001:db8::/32", "192.0.2.1")
    monkeypatch.setenv("TRACEPOOL_CLICK__TRUSTED_PROXIES", "")
    assert load().click.trusted_proxies == ()
    monkeypatch.setenv("TRACEPOOL_CLICK__TRUSTED_PROXIES", "10.0.0.0/8,nonsense")
    said = complaint()
    assert said.startswith("environment variable TRACEPOOL_CLICK__TRUSTED_PROXIES")
    assert "'nonsense' is not an address or network such as 10.0.0.0/8" in said


@pytest.mark.parametrize(
    "bind", ["0.0.0.0:8080", "[::1]:0", "localhost:65535", "unix:/run/tracepool.sock", "clicks.example:80"]
)
def test_a_bind_is_an_address(bind: str) -> None:
    bind_address(bind)


@pytest.mark.parametrize(
    "bind",
    ["", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:٣", "::1:8080", "unix:run", "a:-1"],
)
def test_a_bind_that_is_none_is_refused(bind: str) -> None:
    with pytest.raises(ValueError, match="is not an address such as"):
        bind_address(bind)


def test_no_bind_at_all_is_refused(tmp_path: Path) -> None:
    assert "click.bind" in complaint(written(tmp_path, "[click]\nbind = []\n"))


def test_a_wrong_list_item_names_its_file(tmp_path: Path) -> None:
    said = complaint(written(tmp_path, "[click]\nbind = [8080]\n"))
    assert said.startswith(f"{tmp_path}/tracepool.toml: click.bind.0: ")


@pytest.mark.parametrize(
    ("toml", "key", "allowed"),
    [
        ("[pool]\ncooldown = 30\n", "pool.cooldown", "cooldown_s"),
        ("[pol]\ncooldown_s = 30\n", "pol", "pool"),
        ("cooldown_s = 30\n", "cooldown_s", "pool"),
        ("[providers.luna]\nuser = 'x'\n", "providers.luna.user", "username"),
    ],
)
def test_an_unknown_key_is_named_with_what_is_allowed(toml: str, key: str, allowed: str, tmp_path: Path) -> None:
    said = complaint(written(tmp_path, toml))
    assert said.startswith(f"{tmp_path}/tracepool.toml: {key}: unknown key; allowed here: ")
    assert allowed in said.partition("allowed here: ")[2].split(", ")


@pytest.mark.parametrize("name", ["TRACEPOOL_POOL__COOLDOWN", "TRACEPOOL_COOLDOWN_S", "TRACEPOOL_POL__COOLDOWN_S"])
def test_an_unknown_environment_variable_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "30")
    said = complaint()
    assert "unknown key" in said
    assert said.startswith("environment variable TRACEPOOL_")


def test_an_unknown_credential_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tracepool_database__ulr").write_text(CANARY)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    said = complaint()
    assert said.startswith(f"{tmp_path}: database.ulr: unknown key; allowed here: ")
    assert CANARY not in said


def test_a_key_of_an_earlier_version_sets_its_successor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, "[maintenance]\nretention_days = 14\n[retention]\nhits_days = 30")
    assert load(file).retention.model_dump() == {"hits_days": 30, "traces_days": 14, "statistics_days": 400}
    monkeypatch.setenv("TRACEPOOL_RETENTION__TRACES_DAYS", "3")
    assert load(file).retention.traces_days == 3, "the environment overrides the file, by whichever name"
    monkeypatch.setenv("TRACEPOOL_MAINTENANCE__RETENTION_DAYS", "0")
    assert "TRACEPOOL_MAINTENANCE__RETENTION_DAYS" in complaint(written(tmp_path, ""))


@pytest.mark.parametrize("value", ["-1", '"x"'])
def test_an_error_names_the_key_as_it_is_written(value: str, tmp_path: Path) -> None:
    said = complaint(written(tmp_path, f"[maintenance]\nretention_days = {value}"))
    assert f"{tmp_path}/tracepool.toml: maintenance.retention_days: " in said
    assert "allowed: above 0 to 3650" in said


def test_both_names_of_a_setting_in_one_source_are_refused(tmp_path: Path) -> None:
    said = complaint(written(tmp_path, "[maintenance]\nretention_days = 14\n[retention]\ntraces_days = 3"))
    assert "maintenance.retention_days: the earlier name of retention.traces_days, which is set too: remove it" in said


def test_each_wrong_value_has_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPOOL_LOG__LEVEL", "loud")
    said = complaint(written(tmp_path, "[pool]\ncooldown_s = -1\nlock_s = 0\n")).splitlines()
    assert len(said) == 3
    assert "environment variable TRACEPOOL_LOG__LEVEL: should be 'debug', 'info', 'warning' or 'error'" in said[2]


@pytest.mark.parametrize(
    "environment",
    [
        {"TRACEPOOL_DATABASE__URL": f"mysql://u:{CANARY}@db/x"},
        {"TRACEPOOL_DATABASE": f"postgresql://u:{CANARY}@db/x"},
        {"TRACEPOOL_CONTROL__TOKEN": CANARY[:9]},
        {"TRACEPOOL_CONTROL": CANARY},
        {"TRACEPOOL_TRACE__SERVICE_TOKEN": f"{CANARY} two words"},
        {"TRACEPOOL_PROVIDERS__LUNA": CANARY},
        {"TRACEPOOL_PROVIDERS": CANARY},
        {"TRACEPOOL_PROVIDERS__LUNA__PASSWORD": CANARY, "TRACEPOOL_PROVIDERS__LUNA__USERNAME": "x" * 2_000},
        {"TRACEPOOL_PROVIDERS__LUNA__PASWORD": CANARY},  # misspelt
    ],
)
def test_no_secret_is_ever_in_an_error(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert CANARY not in complaint()


@pytest.mark.parametrize(
    "toml",
    [
        f'database = "postgresql://u:{CANARY}@db/x"\n',
        f'[database]\nurl = ["{CANARY}"]\n',
        f'[providers]\nluna = "{CANARY}"\n',
        f'[providers.luna]\npassword = ["{CANARY}"]\n',
        f'providers = "{CANARY}"\n',
        f'database_url = "{CANARY}"\n',
    ],
)
def test_no_secret_of_a_file_is_ever_in_an_error(toml: str, tmp_path: Path) -> None:
    assert CANARY not in complaint(written(tmp_path, toml))


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
    [
        ("control", "token", "too-short", "16 to 512 visible ASCII characters"),
        ("control", "token", "with a blank in it", "16 to 512 visible ASCII characters"),
        ("control", "hosts", "https://control.example", "'https://control.example' is not a host name"),
        ("control", "hosts", "control.example:443", "'control.example:443' is not a host name"),
        ("trace", "backend", "remote", "should be 'local' or 'service'"),
        ("trace", "service_url", "tracer.example:8081", "must be an http or https URL"),
        ("trace", "service_url", "https://user:pw@tracer.example", "no query, fragment or login"),
        ("trace", "service_url", "https://tracer.example/?a=1", "no query, fragment or login"),
    ],
)
def test_what_cannot_be_a_setting_of_the_control_face_or_a_service(
    section: str, key: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"TRACEPOOL_{section.upper()}__{key.upper()}", value)
    complained = complaint()
    assert complained.startswith(f"environment variable TRACEPOOL_{section.upper()}__{key.upper()}")
    assert said in complained


def test_a_role_is_one_of_two(tmp_path: Path) -> None:
    assert load(written(tmp_path, 'role = "tracer"\n')).role == "tracer"
    said = complaint(written(tmp_path, 'role = "half"\n'))
    assert said == f"{tmp_path}/tracepool.toml: role: should be 'full' or 'tracer' (it is 'half')"


def test_a_service_needs_an_address(tmp_path: Path) -> None:
    said = complaint(written(tmp_path, '[trace]\nbackend = "service"\n'))
    assert said.startswith(f"{tmp_path}/tracepool.toml: trace")
    assert "service_url" in said
    settings = load(written(tmp_path, '[trace]\nbackend = "service"\nservice_url = "https://tracer.example/x/"\n'))
    assert settings.trace.service_url == "https://tracer.example/x"


def test_secrets_are_masked_where_settings_are_shown() -> None:
    settings = Settings(
        database={"url": f"postgresql://u:{CANARY}@db/x"}, providers={"luna": {"username": "me", "password": CANARY}}
    )
    assert CANARY not in repr(settings) + str(settings.model_dump(mode="json")) + settings.model_dump_json()


def test_an_empty_database_url_is_the_embedded_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPOOL_DATABASE__URL", "")
    assert load().database.url is None


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "missing.toml") in complaint(tmp_path / "missing.toml")
    assert str(tmp_path) in complaint(tmp_path)
    assert "not valid TOML" in complaint(written(tmp_path, "[pool\n"))
    (tmp_path / "latin.toml").write_bytes(b'[trace]\nuser_agent = "\xff"\n')
    said = complaint(tmp_path / "latin.toml")
    assert said.startswith(f"{tmp_path}/latin.toml: not valid TOML: ")


def test_which_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, named, given = tmp_path / "system", tmp_path / "named", tmp_path / "given"
    monkeypatch.setattr("daemon.settings.sources.SYSTEM_CONFIG", system)
    assert config_path(None, {}) is None
    system.touch()
    assert config_path(None, {}) == system
    assert config_path(None, {"TRACEPOOL_CONFIG": str(named)}) == named
    assert config_path(given, {"TRACEPOOL_CONFIG": str(named)}) == given
    named.write_text("[pool]\ncooldown_s = 7\n")
    monkeypatch.setenv("TRACEPOOL_CONFIG", str(named))
    assert load().pool.cooldown_s == 7


def test_where_the_state_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_state_dir({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}) == Path("/var/lib/a")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_state_dir({}) == Path("/var/lib/tracepool")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert default_state_dir({"XDG_STATE_HOME": "/xdg"}) == Path("/xdg/tracepool")
    assert default_state_dir({}) == Path.home() / ".local/state/tracepool"


def test_a_state_dir_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACEPOOL_STATE_DIR", "here")
    assert load().state_dir == tmp_path / "here"


@pytest.mark.parametrize("agent", ["", "a\r\nX-Injected: 1", "Bröwser", "x" * 513])
def test_a_user_agent_is_a_header_value(agent: str) -> None:
    with pytest.raises(ValidationError):
        Settings(trace={"user_agent": agent})


def test_settings_are_frozen() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.pool.lock_s = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        settings.pool = Settings().pool  # type: ignore[misc]


def test_the_children_read_the_number_of_processes_of_the_command_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file, found = tmp_path / "settings.toml", []
    file.write_text("processes = 2\n")
    monkeypatch.setenv("TRACEPOOL_PROCESSES", "4")
    monkeypatch.setattr("trio.run", lambda *_: found.append(load(file).processes))
    for process_wide in ("logs.configure", "signals.ignore_hangup", "plan.needs_parent", "refuse_beside_a_parent"):
        monkeypatch.setattr(f"daemon.cli.serve.{process_wide}", lambda *_: True)
    assert serve(processes="3", config=file) == 0
    assert found == [3]
