"""`tracepool offers import`."""

from typing import Annotated

from cyclopts import Parameter

from daemon.cli.imports import name_of, read_text, refuses_whole
from daemon.cli.options import AllowPrivate, ConfigFile, ImportFile, Strict
from daemon.cli.output import say
from daemon.cli.session import settings_of, work
from daemon.database import offers
from daemon.errors import BadInput
from daemon.offers.schema import read_offers


def import_file(
    file: ImportFile,
    /,
    *,
    update: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Change offers that exist instead of skipping them.")
    ] = False,
    strict: Strict = False,
    allow_private: AllowPrivate = False,
    config: ConfigFile = None,
) -> int:
    """Add the offers of a file: CSV with a header, or JSON lines.

    Columns: offer_name and final_url, which are required, and

        target_country (us), is_active (true), deadline_s, notes,
        user_agent       default or visitor
        trace_backend    default, local or service
        landing_schemes  market intent
        stop_at          shop.example other.example
        param_filter     keep gclid wbraid, or: drop fbclid
        rename           gclid=sub1 wbraid=sub2
        tracking_urls    3:https://ads.example/a 1:https://ads.example/b

    In JSON lines the last five may be lists and objects, as `tracepool offers list
    --json` shows them; an empty one takes back what an offer has. An offer that
    exists is skipped and counted, or with --update given the file's values.

    A bad row is told on standard error with its line and its reason; the others
    go in, all together or, when something fails, none.

    Exit status: 0 every row was good, 1 some were refused (with --strict then
    nothing went in), 2 the file cannot be read.

        tracepool offers import offers.csv
        tracepool offers import --update - < offers.jsonl
    """
    settings = settings_of(config)
    text = read_text(file)
    try:
        read = read_offers(text, allow_private=allow_private or settings.trace.allow_private)
    except BadInput as e:
        raise BadInput(f"{name_of(file)}: {e}") from None
    if refuses_whole(file, read, strict):
        return 1
    stored = work(settings, offers.add_offers, read.rows, update)
    changed = f"updated {stored.updated}, " if update else ""
    say(f"added {stored.added}, {changed}skipped {stored.skipped} (already there), refused {len(read.refused)}")
    return 1 if read.refused else 0
