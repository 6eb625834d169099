"""Rules of the settings that recognize a gateway's own answers."""

import pytest
from pydantic import ValidationError

from daemon.providers.answers import OwnAnswer
from daemon.providers.proxies import ProxyAddress, proxy_for
from daemon.providers.settings import Provider

RULES = [
    {"status": 403, "header": "X-Gate", "value": "blocked", "verdict": "operator"},
    {"status": "4xx", "header": "x-gate*"},
    {"status": [200, "5xx"], "body": "no (exit|peer)", "verdict": "provider"},
    {"status": [418], "verdict": "credentials"},
]


def proxy(**keys: object) -> ProxyAddress:
    found = proxy_for("198.51.100.7", "7000", Provider(answers=RULES, **keys), country="us")
    assert isinstance(found, ProxyAddress)
    return found


@pytest.mark.parametrize(
    ("status", "headers", "own"),
    [
        (403, [(b"x-gate", b"it is BLOCKED")], OwnAnswer("operator", "it is BLOCKED")),
        (403, [(b"x-gate", b"other")], OwnAnswer(None, "other")),
        (404, [(b"X-Gate-Why", b"other")], OwnAnswer(None, "other")),
        (500, [(b"x-gate", b"other")], None),
        (403, [], None),
        (
            502,
            [(b"Proxy-Status", b"gate; error=proxy_internal_error")],
            OwnAnswer(None, "gate; error=proxy_internal_error"),
        ),
    ],
)
def test_the_first_rule_that_matches_counts(
    status: int, headers: list[tuple[bytes, bytes]], own: OwnAnswer | None
) -> None:
    assert proxy().own_answer(status, headers) == own


def test_a_body_is_asked_for_where_a_rule_needs_it() -> None:
    rules = proxy().answer_rules
    assert rules.asks_for_body(200, []) and rules.asks_for_body(503, [])  # noqa: PT018
    assert not rules.asks_for_body(302, [])
    assert not rules.asks_for_body(404, [])
    assert proxy().own_answer(200, [], body=b"<p>No exit for you") == OwnAnswer("provider", "")
    assert proxy().own_answer(200, [], body=b"<p>Shop") is None
    assert proxy().own_answer(200, []) is None


def test_a_status_alone_marks_answers_to_connect_only() -> None:
    assert proxy().own_answer(418, []) is None
    assert proxy().own_answer(418, [], tunnel=True) == OwnAnswer("credentials", "")
    killswitch = proxy(template="iproyal", username="x")
    assert killswitch.own_answer(410, [], tunnel=True) == OwnAnswer("provider", "")
    assert killswitch.own_answer(410, []) is None


def test_every_refusal_of_a_gateway_is_its_own() -> None:
    assert proxy().own_answer(403, [], tunnel=True) is None
    at_a_gateway = proxy(gateway="gate.example:7000", username="x")
    assert at_a_gateway.own_answer(403, [], tunnel=True) == OwnAnswer(None, "")
    assert at_a_gateway.own_answer(403, []) is None


@pytest.mark.parametrize("reason", ["wrong password s3cret-word", "user x:s3cret-word", "s3cret", "cret-wor"])
def test_no_part_of_the_password_is_in_the_reason(reason: str) -> None:
    own = proxy(username="x", password="s3cret-word").own_answer(407, [(b"x-gate", reason.encode())])
    assert own == OwnAnswer(None, "")


def test_a_section_with_rules_of_its_own_keeps_those_of_its_template() -> None:
    assert proxy(template="oxylabs", username="x").own_answer(525, [], tunnel=True) == OwnAnswer("provider", "")
    assert Provider(template="oxylabs", username="x") == Provider(template="oxylabs", username="x")


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({}, "must have status, header or body"),
        ({"value": "x"}, "value needs header"),
        ({"header": "a b"}, "name of a response header"),
        ({"header": "x", "value": "("}, "must be a regular expression"),
        ({"body": "["}, "must be a regular expression"),
        ({"status": "6"}, "must be statuses such as 403"),
        ({"status": []}, "must be statuses such as 403"),
        ({"status": 403, "verdict": "ok"}, "verdict"),
        ({"status": 403, "text": "x"}, "text"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rule: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Provider.model_validate({"answers": [rule]})
