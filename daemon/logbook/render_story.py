"""Renders the story of a click as lines of text. Pure.

A value that others follow on its line is quoted where it could be read as more than one value.
"""

from collections.abc import Iterator

from daemon.journal.entries import Params
from daemon.logbook.story import VERDICTS, Chosen, Story, Trace, span
from daemon.printable import word

LABEL = 10
COUNTRY_BY = {
    "parameter": "the click's parameter names it",
    "header": "the header click.country_header names it",
    "file": "click.country_file has it for the visitor's address",
    "first": "the offer's first one, because the visitor's is not known or not the offer's",
}


def render_story(story: Story) -> Iterator[str]:
    of = f" of offer {word(story.offer)}" if story.offer else ""
    yield f"click {story.request_id}{of}, {story.received_at or 'at an unknown time'}"
    yield from _asked(story)
    yield from _country(story)
    if story.chosen is not None:
        yield from _ip(story.chosen)
    for number, hop in enumerate(story.hops, start=1):
        status = "-" if hop.status is None else hop.status
        size = f"{hop.bytes_received / 1000:.1f} KB in, {hop.bytes_sent / 1000:.1f} KB out"
        kind = word(hop.kind) if hop.tier in (None, "markup") else f"{word(hop.kind)} ({word(hop.tier)})"
        yield _line(f"hop {number}", f"at {_ms(hop.began_ms)} for {_ms(hop.ms)}: {status} {kind}, {size}: {hop.url}")
        if hop.why:
            means = "where the page goes on is not certain" if hop.kind == "script_unresolved" else "why the browser"
            yield _line("", f"{means}: {hop.why}")
    if story.trace is not None:
        yield from _end(story.trace)
    yield from _answer(story)


def _asked(story: Story) -> Iterator[str]:
    if story.visitor or story.inbound_params:
        agent = f" ({word(story.user_agent)})" if story.user_agent else ""
        visitor = word(story.visitor) if story.visitor else "an unknown address"
        known = story.trace is not None
        yield _line("asked", f"by {visitor}{agent}{f' with {_params(story.inbound_params)}' if known else ''}")
        if story.click_id:
            yield _line("", f"click id {word(story.click_id)}")
        if story.referrer:
            yield _line("", f"from {word(story.referrer)}")


def _country(story: Story) -> Iterator[str]:
    if story.country and (story.country_by or story.chosen is None):
        why = COUNTRY_BY.get(story.country_by or "")
        yield _line("country", word(story.country) + (f": {why}" if why else ""))


def _ip(chosen: Chosen) -> Iterator[str]:
    more = [word(text) for text in (chosen.country, chosen.provider) if text]
    lease = [] if chosen.lease_no is None else [f"its lease {chosen.lease_no}"]
    waited = "" if chosen.waited_ms is None else f", {_ms(chosen.waited_ms)} after the click arrived"
    yield _line("IP", f"{word(chosen.ip)} ({', '.join([*more, *lease])}){waited}")
    yield _line("", chosen.why)
    if len(chosen.tried) > 1:
        yield _line("", f"tried one after the other: {', '.join(map(word, chosen.tried))}")
    if chosen.exit_ip:
        yield _line("", f"seen by the target as {word(chosen.exit_ip)}")


def _end(trace: Trace) -> Iterator[str]:
    if trace.status in ("pending", "processing"):
        waits = trace.status == "pending" and trace.is_queued
        yield _line("trace", "it waits for a free IP" if waits else f"not over yet ({trace.status})")
        return
    cost = [] if trace.trace_ms is None else [f"in {_ms(trace.trace_ms)}"]
    cost += [f"for {trace.bytes_received / 1000:.1f} KB"] if trace.bytes_received else []
    cost += [f"(${trace.cost:.6f})"] if trace.cost else []
    cost += [f"after {trace.retry_count} retries"] if trace.retry_count else []
    if trace.final_url is not None:
        yield _line("landed", f"{' '.join(cost)}: {trace.final_url}")
        yield _line("", f"with {_params(trace.extracted_params)}")
    else:
        whose = f" ({VERDICTS[trace.verdict]})" if trace.verdict in VERDICTS else ""
        yield _line(
            trace.status, f"{' '.join(cost)}{whose}: {trace.error or 'the reason is not recorded'}".lstrip(" :")
        )


def _answer(story: Story) -> Iterator[str]:
    answer = story.answered
    if answer is None:
        yield _line("answered", "not yet, or no visitor waited for it")
        return
    if answer.outcome == "refused":
        yield _line("refused", f"{answer.reason}: {answer.why}")
        return
    waited = "" if answer.waited_ms is None else f" after {_ms(answer.waited_ms)}"
    if answer.outcome == "left":
        yield _line("left", f"the visitor closed the connection{waited}, before there was an answer")
        return
    if answer.kind == "repeat":
        yield _line("repeat", "the same click again: it got the answer of the first one, and used no IP")
    if answer.added or answer.replaced:
        yield _line("added", _params(answer.added))
    if answer.replaced:
        yield _line("replaced", _params(answer.replaced))
    if answer.outcome == "background":
        yield _line("background", "nobody waits: it was answered at once (POST by 204), and traced afterwards")
    if answer.outcome == "fallback":
        yield _line("fallback", f"{answer.reason}: {answer.why}")
        if answer.reason == "deadline" and (late := _late(story)) is not None:
            yield _line("", late)
    yield _line("answered", f"{answer.outcome}{waited}: {answer.location}")


def _late(story: Story) -> str | None:
    """How the trace ended after the visitor's fallback."""
    trace, answer = story.trace, story.answered
    if trace is None or answer is None or trace.total_ms is None or answer.waited_ms is None:
        return None
    how = "landed" if trace.final_url is not None else "ended without a landing page"
    return f"it {how} {_ms(trace.total_ms - answer.waited_ms)} later"


def _line(label: str, text: str) -> str:
    return f"  {label:<{LABEL}} {text}"


def _params(params: Params) -> str:
    listed = {name: value if isinstance(value, list) else [value] for name, value in params.items()}
    return (
        ", ".join(f"{word(name)}={word(value)}" for name, values in listed.items() for value in values)
        or "no parameters"
    )


def _ms(milliseconds: float) -> str:
    if milliseconds < 1_000:
        return f"{milliseconds:.0f} ms"
    return span(milliseconds / 1000) if milliseconds >= 10_000 else f"{milliseconds / 1000:.2f} s"
