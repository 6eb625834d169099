"""The settings of providers: the login that each template gives, and the errors of a bad section."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from daemon.errors import BadSettings
from daemon.providers.proxies import LeasedProxy, ProxyAddress, proxy_for
from daemon.providers.settings import PLACEHOLDERS, Provider, templates
from daemon.settings.model import Settings
from daemon.settings.model import proxy_of as leased_proxy
from daemon.settings.sources import load

LOCK_S = 90

# Template → gateway, username and password, for the username `customer`, the password `word`, the country us, leases of
# 90 s and the session abc1 (or the one that the template's rules give for it).
DOCUMENTED = {
    "luna": ("pr.lunaproxy.com", 12233, "user-customer-region-us-sessid-abc1-sesstime-2", "word"),
    "brightdata": ("brd.superproxy.io", 33335, "customer-country-us-session-abc1-const", "word"),
    "oxylabs": ("pr.oxylabs.io", 7777, "customer-customer-cc-US-sessid_oneip-abc1-sesstime-2", "word"),
    "decodo": ("gate.decodo.com", 7000, "user-customer-country-us-session_iplock-abc1-sessionduration-2", "word"),
    "iproyal": (
        "geo.iproyal.com", 12321, "customer", "word_country-us_session-wfi6hmm3_lifetime-2m_killswitch-1"
    ),
    "soax": ("proxy.soax.com", 5000, "package-customer-country-us-sessionid-abc1-sessionlength-3600", "word"),
    "webshare": ("p.webshare.io", 80, "customer-us-734902727", "word"),
}  # fmt: skip


def provider(**keys: object) -> Provider:
    return Provider.model_validate({"username": "customer", "password": "word", **keys})


def proxy_of(found: Provider, address: str = "abc1", name: str = "luna") -> ProxyAddress:
    proxy = proxy_for(address, "7000", found, name=name, country="us", lease="request/1", lock_s=LOCK_S)
    assert isinstance(proxy, ProxyAddress), proxy
    return proxy


def test_there_is_a_template_for_each_provider() -> None:
    assert templates().keys() == DOCUMENTED.keys()


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_template_makes_the_documented_login(name: str) -> None:
    proxy = proxy_of(provider(template=name), name=name)
    assert (proxy.host, proxy.port, proxy.username, proxy.password) == DOCUMENTED[name]
    assert proxy.scheme == "http"


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_template_can_do_without_failing_closed(name: str) -> None:
    flag = provider(template=name).fail_closed
    proxy = proxy_of(provider(template=name, fail_closed=""), name=name)
    _, _, username, password = DOCUMENTED[name]
    assert (proxy.username, proxy.password) == (username.replace(flag, "", 1), password.replace(flag, "", 1))


@pytest.mark.parametrize("name", DOCUMENTED)
def test_generated_rows_are_sessions_of_their_own(name: str) -> None:
    rows = [f"{name}-us-{number}" for number in range(1, 300)]
    logins = {proxy_of(provider(template=name), row, name).authorization for row in rows}
    assert len(logins) == len(rows)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_template_has_a_country_case_session_rules_and_a_fail_closed_flag(name: str) -> None:
    assert templates()[name].keys() >= {
        "gateway", "username_pattern", "country_case", "session_characters", "session_length_min", "session_length_max",
        "fail_closed",
    }  # fmt: skip


def test_webshare_takes_the_number_of_a_generated_row() -> None:
    assert proxy_of(provider(template="webshare"), "webshare-us-17", "webshare").username == "customer-us-17"


def test_brightdata_has_a_header_for_the_exit_ip() -> None:
    assert proxy_of(provider(template="brightdata")).exit_ip_header == "x-brd-ip"


def test_a_section_overrides_its_template() -> None:
    proxy = proxy_of(provider(template="luna", gateway="127.0.0.1:9", scheme="socks5", username_pattern="{session}"))
    assert (proxy.host, proxy.port, proxy.scheme, proxy.username) == ("127.0.0.1", 9, "socks5", "abc1")


def test_a_lock_is_rounded_up_to_minutes() -> None:
    pattern = {"gateway": "gate.example:1", "username_pattern": "{username}{lock_minutes}"}
    settings = Settings(pool={"lock_s": 121}, trace={"timeout_s": 75}, providers={"luna": {"username": "x", **pattern}})
    proxy = leased_proxy(settings, LeasedProxy("luna-us-1", "7000", "us", "luna", "lease"))
    assert isinstance(proxy, ProxyAddress)
    assert proxy.username == "x3"


def test_a_provider_alone_with_a_login_is_dialled_directly() -> None:
    assert proxy_of(provider(), "198.51.100.7") == ProxyAddress("198.51.100.7", 7000, "customer", "word")


WRONG = {
    "template": ('template = "lunar"', "luna, brightdata, oxylabs, decodo, iproyal, soax, webshare"),
    "gateway": ('gateway = "http://gate.example:1"', "host:port"),
    "scheme": ('scheme = "socks4"', "'http', 'https' or 'socks5'"),
    "session": ('session = "row"', "'ip' or 'lease'"),
    "username_pattern": (
        'username_pattern = "{username}-{zone}"',
        "{zone} is no placeholder; allowed are " + ", ".join(f"{{{name}}}" for name in PLACEHOLDERS),
    ),
    "password_pattern": ('password_pattern = "s3cret"', "must hold {password}"),
    "username": ('username = "a:b"', "no colon"),
    "password": ('password = "a\\nb"', "no control characters"),
    "fail_closed": ('fail_closed = "\\r\\n"', "no control characters"),
    "exit_ip_header": ('exit_ip_header = "x ip"', "name of a response header"),
    "price_per_gb": ("price_per_gb = 1001", "allowed: 0 to 1000"),
    "session_length_max": ("session_length_max = 65", "allowed: 1 to 64"),
    "answers.0": ("answers = [{ value = 'x' }]", "value needs header"),
    "answers.0.header": ("answers = [{ header = 'a b' }]", "name of a response header"),
    "gate": ('gate = "x:1"', "unknown key; allowed here: answers, country_case, exit_ip_header"),
}


@pytest.mark.parametrize("key", WRONG)
def test_an_error_names_the_fault_and_the_allowed_values(key: str, tmp_path: Path) -> None:
    line, right = WRONG[key]
    file = tmp_path / "tracepool.toml"
    file.write_text(f"[providers.luna]\n{line}\n")
    with pytest.raises(BadSettings) as refused:
        load(file)
    assert f"providers.luna.{key}: " in str(refused.value)
    assert right in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("section", "right"),
    [
        ('template = "luna"\npassword = "s3cret"', "username is empty"),
        ("session_length_min = 9\nsession_length_max = 8", "session_length_min must not be above"),
    ],
)
def test_contradicting_keys_are_refused(section: str, right: str, tmp_path: Path) -> None:
    file = tmp_path / "tracepool.toml"
    file.write_text(f"[providers.luna]\n{section}\n")
    with pytest.raises(BadSettings, match=right) as refused:
        load(file)
    assert "providers.luna: " in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_a_setting_cannot_be_changed_once_it_is_read() -> None:
    with pytest.raises(ValidationError):
        provider().gateway = "gate.example:1"  # type: ignore[misc]
