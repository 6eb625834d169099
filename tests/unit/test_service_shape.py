"""Answers of a trace service: tracepool's own are read unchanged, others are accepted or refused, never raised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from daemon.trace.service_shape import ChainStep, TraceAnswer, TraceRequest, answer_of, result_of
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import WEB_SCHEMES, GaveUp, Hop, Landed, Limits
from daemon.trace.walk.verdicts import Verdict

LIMITS = Limits(20, allow_private=False)
MARKET = Limits(20, allow_private=False, landing_schemes=WEB_SCHEMES | {"market"})
REQUEST = TraceRequest("https://ads.example/go", "192.0.2.7", "7000")
GO = Hop("https://ads.example/go", 302, 12.5, "http", 300, 200)
END = Hop("https://shop.example/?a=1#b", 200, 7.5, "final", 5_000, 250)
ANSWER = TypeAdapter(TraceAnswer)


@pytest.mark.parametrize(
    ("end", "hops"),
    [
        (Landed("https://shop.example/?a=1#b"), (GO, END)),
        (Landed("market://details?id=1"), (GO,)),
        (GaveUp(Verdict.IP, "proxy_refused", "hop 1 (ads.example): the proxy refused"), (GO,)),
        (GaveUp(Verdict.OPERATOR, "bad_tracking_url", "the tracking URL is none"), ()),
        (GaveUp(Verdict.LIMIT, "trace_timeout", "the trace did not end within 5 s"), (GO, GO)),
    ],
)
def test_an_answer_is_read_as_it_was_written(end: Landed | GaveUp, hops: tuple[Hop, ...]) -> None:
    result = TraceResult(end, hops, 20.0, 5_300, 450, "198.51.100.7")
    sent = ANSWER.dump_json(answer_of(result, REQUEST))
    assert result_of(ANSWER.validate_json(sent), MARKET, 20.0) == result


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("http", "http"),
        ("refresh-header", "refresh-header"),
        ("HTTP_302", "http"),
        ("meta_refresh", "meta"),
        ("meta-refresh", "meta"),
        ("http_refresh", "refresh-header"),
        ("javascript", "script"),
        ("js", "script"),
        ("form_submit", "form"),
        ("", "http"),
        (None, "http"),
        ("\x00", "http"),
    ],
)
def test_other_services_words_for_a_hop(said: str | None, kind: str) -> None:
    steps = [ChainStep("https://ads.example/go", 200, said), ChainStep("https://shop.example/", 200)]
    result = result_of(TraceAnswer(True, steps, final_url="https://shop.example/"), LIMITS, 1.0)
    assert isinstance(result, TraceResult)
    assert [hop.kind for hop in result.hops] == [kind, "final"]


def test_a_step_with_an_error_has_failed() -> None:
    result = result_of(TraceAnswer(False, [ChainStep("https://ads.example/go", error="DNS")]), LIMITS, 1.0)
    assert isinstance(result, TraceResult)
    assert [hop.kind for hop in result.hops] == ["failed"]


TEXTS = st.none() | st.text(max_size=40) | st.sampled_from(["https://shop.example/", "ok", "ip", "final", "http"])
ANSWERS = st.builds(
    TraceAnswer,
    success=st.booleans(),
    chain=st.lists(
        st.builds(ChainStep, url=st.text(max_size=40), status=st.none() | st.integers(0, 999), redirect_type=TEXTS),
        max_size=4,
    ),
    final_url=TEXTS,
    error=TEXTS,
    verdict=TEXTS,
    reason=TEXTS,
    exit_ip=TEXTS,
)


@given(ANSWERS)
def test_every_valid_answer_is_a_result_or_a_sentence(answer: TraceAnswer) -> None:
    result = result_of(answer, LIMITS, 1.0)
    if isinstance(result, str):
        assert answer.success
        assert result.isprintable()
        return
    if isinstance(result.end, GaveUp):
        assert result.end.verdict is not Verdict.OK
        assert result.end.message.isprintable()
    for hop in result.hops:
        assert "\x00" not in hop.url
