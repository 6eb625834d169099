"""`tracepool report`: clicks, waits, traces and cost of a time, by offer, country, provider, day or reason."""

import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter

from daemon.cli.output import say, say_json, say_table, warn
from daemon.cli.session import AsJSON, ConfigFile, flag, settings_of, work
from daemon.control.report_groups import KEYS, Figures, cells_of, columns_of, window_of_texts
from daemon.control.reports import Group, Report, click_times, read_report
from daemon.database.spreadsheets import write_line
from daemon.errors import BadInput, DatabaseBusy, TheirFault
from daemon.formats import dollars, size_in_words
from daemon.logbook.filter import since_of
from daemon.settings.model import Settings

From = Annotated[str | None, Parameter(name="--from", metavar="T", help="90s, 10m, 2h, 7d ago, a date, or a time.")]
To = Annotated[str | None, Parameter(name="--to", metavar="T", help="The same; a date includes that day. Else now.")]
COLUMNS = (
    *("clicks", "landed", "%", "fallbacks", "background", "repeats", "previews", "p50 ms", "p95 ms"),
    *("traces", "bytes", "cost"),
)
STATEMENT_S_MAX = 600.0
GROUPINGS = tuple(key for key in KEYS if key is not None)


def report(
    *,
    by: Annotated[str | None, Parameter(metavar="G", help="offer, country, provider, day or reason.")] = None,
    since: From = None,
    until: To = None,
    as_csv: Annotated[bool, flag("CSV on standard output.", "--csv")] = False,
    as_json: AsJSON = False,
    config: ConfigFile = None,
) -> None:
    """Show clicks, fallbacks, waits, traces, bytes and cost by offer and country.

    With --by, by one of them, or by provider, day or reason. Without --from, the
    last 7 days. Days are UTC, as in status; so are dates and times without a zone.

    "landed" are the clicks that were redirected to the landing page, "%" is their
    share, "fallbacks" has the others by reason. "background" are the clicks of
    offers with --mode background, which nobody waits for; "repeats" of a click and
    "previews" of a link are no clicks. These three are in no other figure, but the
    traces of background clicks are among "traces". "p50 ms" and "p95 ms" are waits
    of visitors: half and 95% of them waited no longer. "bytes" went through proxies
    in both directions, and "cost" is at the price_per_gb of the time.

    By offer, provider and day, and of whole days, traces, bytes and cost are those
    of the table traffic, where a trace that was tried through two providers counts
    for both. Otherwise they are sums of traces, which the daemon keeps for
    retention.traces_days; such a trace counts for its last provider.

        tracepool report
        tracepool report --by reason --from 2h
        tracepool report --by day --from 2026-11-01 --to 2026-11-30 --csv
    """
    if as_csv and as_json:
        raise BadInput("--csv or --json: give one of them")
    wanted = next((key for key in GROUPINGS if key == by), None)
    if by is not None and wanted is None:
        raise BadInput(f"--by is {by!r}; allowed: {', '.join(GROUPINGS)}")
    window = window_of_texts(since, until, datetime.now(UTC), since_of)
    settings = settings_of(config)
    try:
        found = work(settings, read_report, wanted, window, STATEMENT_S_MAX)
    except DatabaseBusy as e:
        if "statement timeout" not in str(e):
            raise
        raise TheirFault(f"{e}: choose a shorter time with --from and --to") from None
    if as_json:
        say_json(_json(found))
    elif as_csv:
        _say_csv(found)
    else:
        say(f"from {_time(found.window.since)} to {_time(found.window.until)}")
        if found.groups:
            say_table((*KEYS[wanted], *COLUMNS), _rows(found), right=[name for name in COLUMNS if name != "fallbacks"])
    for note in _notes(settings, found):
        warn(f"tracepool: {note}")


def _time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _rows(found: Report) -> Iterable[tuple[object, ...]]:
    for group in found.groups:
        yield *(_shown_key(key, text) for key, text in group.keys.items()), *_cells(group.figures)
    yield "all", *("" for _ in KEYS[found.by][1:]), *_cells(found.total)


def _shown_key(key: str, text: str | None) -> str:
    return text or f"(no {'click' if key == 'reason' else key})"


def _cells(of: Figures) -> tuple[object, ...]:
    fallbacks = ", ".join(
        f"{reason} {count}" for reason, count in sorted(of.fallbacks.items(), key=lambda one: -one[1])
    )
    share = f"{100 * of.landed / of.clicks:.1f}" if of.clicks else None
    waits = (None if ms is None else round(ms) for ms in (of.wait_p50_ms, of.wait_p95_ms))
    size = size_in_words(of.bytes_received + of.bytes_sent)
    apart = of.background, of.repeats, of.previews
    return of.clicks, of.landed, share, fallbacks, *apart, *waits, of.traces, size, dollars(of.cost)


def _say_csv(found: Report) -> None:
    columns = columns_of(KEYS[found.by], [group.figures for group in found.groups])
    sys.stdout.write(write_line(columns))
    for group in found.groups:
        sys.stdout.write(write_line(cells_of(columns, group.keys, group.figures)))


def _json(found: Report) -> dict[str, Any]:
    return {
        "since": found.window.since,
        "until": found.window.until,
        "by": found.by,
        "source": found.source,
        "items": [_object(group) for group in found.groups],
        "total": asdict(found.total),
        "left_out": found.left_out,
    }


def _object(group: Group) -> dict[str, Any]:
    return {**group.keys, **asdict(group.figures)}


def _notes(settings: Settings, found: Report) -> Iterable[str]:
    days = settings.retention.traces_days
    if found.left_out:
        yield f"{found.left_out} more groups are only in the total: choose a shorter time, or another --by"
    if not found.groups:
        times = work(settings, click_times)
        if times is None:
            yield (
                f"there has been no click yet. To make one: curl -i 'http://{settings.click.bind[0]}/track-hit?offer=NAME'"
                " with an offer of tracepool offers list; tracepool demo shows all on loopback"
            )
        else:
            yield f"no click and no trace in this time; {_where(*times, found)}"
    elif (found.window.now - found.window.since).total_seconds() > days * 86_400 and _reads_traces(found):
        yield (
            f"traces older than {days:g} days (retention.traces_days) are removed: of earlier days this report has"
            " no traces, bytes and cost, and a click's country is that of its offer. By day, offer and provider, and of"
            " whole days, it has all bytes and cost"
        )

    hits_days = settings.retention.hits_days
    if found.groups and (found.window.now - found.window.since).total_seconds() > hits_days * 86_400:
        yield f"hits older than {hits_days:g} days (retention.hits_days) are removed: earlier days have no clicks"


def _where(first: datetime, last: datetime, found: Report) -> str:
    """The nearest click outside of the report's time."""
    if found.window.until <= first:
        return f"the first click is of {_time(first)}: choose --to after it"
    if found.window.since > last:
        return f"the newest click is of {_time(last)}: choose --from before it"
    return f"clicks are from {_time(first)} to {_time(last)}: choose a longer time"


def _reads_traces(found: Report) -> bool:
    return found.source == "active_trace_requests" or "country" in KEYS[found.by]
