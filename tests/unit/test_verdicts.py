"""Whose fault a failed hop is."""

import itertools

import pytest

from daemon.trace.walk.verdicts import (
    FAULTS,
    FAULTS_OF_A_PROVEN_PROXY,
    Failure,
    Phase,
    Verdict,
    fault_of,
    fault_of_answer,
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
        (429, Verdict.PROVIDER),
        (503, Verdict.PROVIDER),
        (500, Verdict.TARGET),
        (502, Verdict.TARGET),
        (504, Verdict.TARGET),
        (403, Verdict.IP),
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
        (200, (b"X-Squid-Error", b"ERR_NONE 0"), False, None),
        (503, (b"X-Squid-Error", b"ERR_DNS_FAIL 0"), True, Verdict.PROVIDER),
        (502, (b"Proxy-Status", b"gate; error=dns_error"), True, Verdict.TARGET),
        (403, (b"proxy-status", b"gate;error=destination_ip_prohibited"), True, Verdict.IP),
        (403, (b"Proxy-Status", b"cdn; received-status=403"), False, None),
        (402, (b"X-Brd-Err-Code", b"policy_20050"), True, Verdict.IP),
        (407, (b"X-Luminati-Error", b"Invalid Auth"), False, Verdict.CREDENTIALS),
        (502, (b"X-Proxy-Error", b"timeout"), False, Verdict.TARGET),
        (403, (b"X-Proxy-Errands", b"1"), False, None),
    ],
)
def test_an_answer_over_plain_http_is_the_proxys_if_its_headers_show_it(
    status: int, header: tuple[bytes, bytes] | None, proven: bool, verdict: Verdict | None
) -> None:
    fault = fault_of_answer(status, [header] if header else [], proxy_proven=proven)
    assert (fault.verdict if fault else None) is verdict
    if fault:
        assert str(status) in fault.message


def test_a_pair_outside_the_table_is_an_internal_error_and_not_the_ips_fault() -> None:
    for phase, kind in itertools.product(Phase, Failure):
        if (phase, kind) not in FAULTS:
            assert fault_of(phase, kind).verdict is Verdict.LIMIT
            assert fault_of(phase, kind).reason == "internal"


def test_reasons_are_short_codes_and_messages_have_no_full_stop() -> None:
    for fault in FAULTS.values():
        assert fault.reason.replace("_", "").isalpha()
        assert not fault.message.endswith(".")
