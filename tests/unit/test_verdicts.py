"""Whose fault a failed hop is."""

import itertools

import pytest

from daemon.providers.answers import OwnAnswer, documented_rules, rules_of_every_proxy
from daemon.providers.settings import templates
from daemon.trace.walk.verdicts import (
    FAULTS,
    FAULTS_OF_A_PROVEN_PROXY,
    Failure,
    Phase,
    Verdict,
    fault_of,
    fault_of_answer,
    fault_of_own,
)


def test_every_failure_before_the_tunnel_is_open_is_the_ips_fault() -> None:
    reported = {(Phase.TUNNEL, Failure.UNREACHABLE), (Phase.TUNNEL, Failure.CREDENTIALS)}  # replies of SOCKS proxies
    left_early = {(Phase.TUNNEL, Failure.SLOW)}
    early = [FAULTS[pair] for pair in FAULTS.keys() - reported - left_early if pair[0] in (Phase.DIAL, Phase.TUNNEL)]
    assert {fault.verdict for fault in early} == {Verdict.IP, Verdict.LIMIT}
    assert [fault.reason for fault in early if fault.verdict is Verdict.LIMIT] == ["no_sockets"]


def test_no_failure_inside_the_tunnel_is_the_ips_fault() -> None:
    late = {fault.verdict for (phase, _), fault in FAULTS.items() if phase in (Phase.TLS, Phase.BEHIND)}
    assert late == {Verdict.TARGET, Verdict.LIMIT}


def test_a_broken_connection_of_a_proven_proxy_is_not_the_ips_fault() -> None:
    assert fault_of(Phase.FORWARD, Failure.RESET).verdict is Verdict.IP
    assert fault_of(Phase.FORWARD, Failure.RESET, proxy_proven=True).verdict is Verdict.TARGET
    assert all(fault.verdict is not Verdict.IP for fault in FAULTS_OF_A_PROVEN_PROXY.values())
    assert FAULTS_OF_A_PROVEN_PROXY.keys() <= FAULTS.keys()


def test_a_proven_proxy_that_cannot_be_dialled_is_at_fault() -> None:
    assert fault_of(Phase.DIAL, Failure.REFUSED, proxy_proven=True).verdict is Verdict.IP


def test_a_timeout_over_plain_http_is_the_targets_fault() -> None:
    assert fault_of(Phase.FORWARD, Failure.TIMEOUT).verdict is Verdict.TARGET


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (407, Verdict.CREDENTIALS),
        (401, Verdict.CREDENTIALS),
        (402, Verdict.OPERATOR),
        (451, Verdict.TARGET),
        (522, Verdict.PROVIDER),
        (525, Verdict.PROVIDER),
        (429, Verdict.PROVIDER),
        (503, Verdict.PROVIDER),
        (500, Verdict.TARGET),
        (502, Verdict.TARGET),
        (504, Verdict.TARGET),
        (403, Verdict.PROVIDER),
        (400, Verdict.IP),
        (405, Verdict.IP),
        (501, Verdict.IP),
        (302, Verdict.IP),
        (101, Verdict.IP),
    ],
)
def test_the_verdict_of_a_refused_connect_depends_on_its_status(status: int, verdict: Verdict) -> None:
    fault = fault_of(Phase.TUNNEL, Failure.STATUS, status=status)
    assert fault.verdict is verdict
    assert str(status) in fault.message


@pytest.mark.parametrize(
    ("status", "header", "proven", "verdict"),
    [
        (407, None, True, Verdict.CREDENTIALS),
        (429, None, False, Verdict.PROVIDER),
        (503, None, False, Verdict.PROVIDER),
        (503, None, True, None),
        (503, (b"Via", b"1.1 gate"), False, None),
        (429, (b"Set-Cookie", b"a=1"), False, None),
        (403, None, False, None),
        (502, None, False, None),
        (522, None, False, None),
    ],
)
def test_an_answer_over_plain_http_without_a_sign_is_the_targets(
    status: int, header: tuple[bytes, bytes] | None, proven: bool, verdict: Verdict | None
) -> None:
    fault = fault_of_answer(status, [header] if header else [], proxy_proven=proven)
    assert (fault.verdict if fault else None) is verdict
    if fault:
        assert str(status) in fault.message


@pytest.mark.parametrize(
    ("status", "name", "value", "verdict"),
    [
        (200, "X-Squid-Error", "ERR_NONE 0", None),
        (503, "X-Squid-Error", "ERR_DNS_FAIL 0", Verdict.TARGET),
        (503, "X-Squid-Error", "ERR_CANNOT_FORWARD 0", Verdict.PROVIDER),
        (403, "X-Squid-Error", "ERR_ACCESS_DENIED 0", Verdict.PROVIDER),
        (502, "Proxy-Status", "gate; error=dns_error", Verdict.TARGET),
        (502, "Proxy-Status", "gate; error=destination_ip_unroutable", Verdict.PROVIDER),
        (503, "Proxy-Status", 'cdn; received-status=200, gate; error="connection_timeout"', Verdict.PROVIDER),
        (502, "proxy-status", "gate; received-status=400; error=http_request_denied", Verdict.TARGET),
        (403, "Proxy-Status", "cdn; received-status=403", None),
        (502, "X-Brd-Err-Code", "client_10060", Verdict.PROVIDER),
        (200, "x-brd-err-code", "client_10000", Verdict.PROVIDER),
        (402, "X-Brd-Err-Code", "policy_20050", Verdict.TARGET),
        (502, "x-brd-err-code", "target_40001", Verdict.TARGET),
        (407, "X-Luminati-Error", "Invalid Auth", Verdict.CREDENTIALS),
        (400, "X-Error-Description", "Bad request: unsupported parameters were used", Verdict.OPERATOR),
        (403, "X-Error-Description", "Access denied: restricted target", Verdict.TARGET),
        (407, "X-Error-Description", "Access denied: user authentication failed", Verdict.CREDENTIALS),
        (407, "X-Error-Description", "Access denied: traffic limit reached", Verdict.OPERATOR),
        (502, "X-Error-Description", "Bad gateway: session failed", Verdict.PROVIDER),
        (525, "x-error-description", "No exit found", Verdict.PROVIDER),
        (400, "X-SOAX-Error", "ERR_INVALID_VALUE", Verdict.OPERATOR),
        (402, "X-Webshare-Error", "402", Verdict.OPERATOR),
        (502, "X-Webshare-Reason", "target_connect_resolve_failed", Verdict.TARGET),
        (502, "X-thor-error-code", "client_101", Verdict.PROVIDER),
        (502, "X-Proxy-Error", "timeout", Verdict.PROVIDER),
        (403, "X-Proxy-Errands", "1", None),
        (302, "X-Error-Description", "x", None),
    ],
)
def test_a_header_marks_a_gateways_own_answer(status: int, name: str, value: str, verdict: Verdict | None) -> None:
    own = rules_of_every_proxy().matching(status, [(name.encode(), value.encode())])
    if verdict is None:
        assert own is None
        return
    assert own is not None
    plain = fault_of_answer(status, [], proxy_proven=True, own=own)
    tunnel = fault_of(Phase.TUNNEL, Failure.STATUS, status=status, own=own)
    assert plain is not None
    assert plain.verdict is tunnel.verdict is verdict
    assert plain.reason == tunnel.reason
    assert value in plain.message
    assert str(status) in tunnel.message


def test_no_rule_puts_the_blame_on_the_ip() -> None:
    assert all(rule.verdict != "ip" and rule.source for name in ("", *templates()) for rule in documented_rules(name))
    for status in (*range(200, 600), 999):
        assert fault_of_own(status, OwnAnswer(None, ""), "x").verdict is not Verdict.IP


def test_a_pair_outside_the_table_is_an_internal_error_and_not_the_ips_fault() -> None:
    for phase, kind in itertools.product(Phase, Failure):
        if (phase, kind) not in FAULTS:
            assert fault_of(phase, kind).verdict is Verdict.LIMIT
            assert fault_of(phase, kind).reason == "internal"


def test_reasons_are_short_codes_and_messages_have_no_full_stop() -> None:
    for fault in FAULTS.values():
        assert fault.reason.replace("_", "").isalpha()
        assert not fault.message.endswith(".")
