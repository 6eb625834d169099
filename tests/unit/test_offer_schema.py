"""Every setting of an offer reaches every surface: files, commands, the API, clicks and the documentation.

Each test runs for each setting of daemon/offers/schema.py, so it names a setting that another place lacks.
tests/integration/test_offer_constraints.py compares the table.
"""

import csv
import io
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter, ValidationError

import daemon
from daemon.cli.app import build_app
from daemon.cli.offers_write import OPTIONS, OfferOptions, import_file
from daemon.control.resources.offers import OfferChanges, OfferNew, OfferRow
from daemon.offers.model import ClosedOffer, Offer, Offers
from daemon.offers.schema import LIVE, SETTINGS, offer_fields, read_offers

README = (Path(daemon.__file__).parent.parent / "README.md").read_text()
EXAMPLES = {column: setting.example for column, setting in SETTINGS.items()}
REST = {column: EXAMPLES[column] for column in ("offer_name", "final_url")}
# The arguments of the commands for settings that are not options of both.
ARGUMENTS = {"offer_name": "NAME", "final_url": "--url", "is_active": "--active --inactive"}
ARGUMENTS |= {"target_country": "--country"}
UNFIT: dict[str, object] = {
    "offer_name": "",
    "final_url": "ads.example",
    "target_country": "",
    "countries": ["de", ""],
    "country_urls": {"de": [{"url": "https://ads.example/", "weight": 0}]},
    "country_param": "x" * 256,
    "is_active": "maybe",
    "deadline_s": 61,
    "user_agent": "curl",
    "notes": "x" * 1_001,
    "landing_schemes": [f"s{n}" for n in range(21)],
    "stop_at": [f"{n}.example" for n in range(21)],
    "param_filter": {"only": ["a"]},
    "rename": {"a": ""},
    "tracking_urls": [{"url": "https://ads.example/", "weight": 0}],
    "trace_backend": "remote",
    "tracer": "chromium",
    "fallback_url": "shop.example",
    "paused_to": "x" * 256,
    "click_ids": [""],
    "mode": "parallel",
}
# The countries of country_urls are the offer's.
OTHERS = {"country_urls": {"countries": "us de at"}}
# A paused offer alone uses these.
OF_PAUSED = ("fallback_url", "paused_to")


def stored(column: str) -> Any:
    """The example of a setting, as the column holds it and the API returns it."""
    value = getattr(
        offer_fields({**REST, **OTHERS.get(column, {}), column: EXAMPLES[column]}, allow_private=False), column
    )
    return json.loads(value) if SETTINGS[column].sql == "jsonb" else list(value) if isinstance(value, tuple) else value


def of_clicks(**row: Any) -> Offer | ClosedOffer:
    offers = Offers()
    taker = {"id": UUID(int=2), "offer_name": "winter-sale", "final_url": "https://winter.example/"}
    given = {"id": UUID(int=1), "offer_name": "x", "final_url": "https://x.example/", **row}
    assert offers.replace([given, taker]) == []
    found = offers.find(given["offer_name"]) or offers.closed(given["offer_name"])
    assert found is not None
    return found


@pytest.mark.parametrize("column", SETTINGS)
def test_an_import_reads_it_from_csv_and_json_lines(column: str) -> None:
    given = {**REST, **OTHERS.get(column, {}), column: EXAMPLES[column]}
    written = io.StringIO()
    csv.writer(written).writerows([given.keys(), given.values()])
    lines = json.dumps({**REST, **OTHERS.get(column, {}), column: stored(column)})
    from_csv, from_json = (read_offers(text, allow_private=False) for text in (written.getvalue(), lines))
    assert from_csv == from_json
    assert from_csv.refused == ()
    assert getattr(from_csv.rows[0], column) is not None


@pytest.mark.parametrize("column", SETTINGS)
def test_the_help_of_the_import_names_it(column: str) -> None:
    words = (import_file.__doc__ or "").replace(",", " ").split()
    assert column in words
    if SETTINGS[column].sql in ("text[]", "jsonb"):
        assert f"{column:<15}  {EXAMPLES[column]}" in (import_file.__doc__ or "")


@pytest.mark.parametrize("command", ["add", "update"])
@pytest.mark.parametrize("column", [column for column in SETTINGS if column not in ARGUMENTS])
def test_the_commands_have_its_options(column: str, command: str) -> None:
    assert SETTINGS[column].options, "no option sets it"
    for option in SETTINGS[column].options:
        value = [] if option.type is bool else [EXAMPLES[column].split()[0]]
        _, bound, _ = build_app().parse_args(["offers", command, "x", option.flag, *value], exit_on_error=False)
        assert bound.arguments["options"].columns()[column] is not None, option.flag


def test_options_that_are_not_given_are_none() -> None:
    assert set(OfferOptions().columns().values()) == {None}
    assert len({option.name for option in OPTIONS}) == len(OPTIONS)


@pytest.mark.parametrize("column", SETTINGS)
def test_the_api_accepts_and_returns_it(column: str) -> None:
    value = stored(column)
    assert getattr(TypeAdapter(OfferNew).validate_python({**REST, column: value}), column) is not None
    shown = {name: setting.default for name, setting in SETTINGS.items()} | {"landing_schemes": []}
    moments = {"created_at": "2026-01-31T12:00:00Z", "updated_at": "2026-01-31T12:00:00Z"}
    adapter = TypeAdapter(OfferRow)
    row = adapter.validate_python({"id": UUID(int=1), **moments, **shown, **REST, column: value})
    assert adapter.dump_python(row)[column] == value
    assert (column == "offer_name") != (column in OfferChanges.__dataclass_fields__)


@pytest.mark.parametrize("column", SETTINGS)
def test_what_the_api_refuses_an_import_refuses_too(column: str) -> None:
    line = json.dumps({**REST, column: UNFIT[column]})
    assert read_offers(line, allow_private=False).refused, "an import takes it"
    # For these, the request's type checks less than the reader.
    if column not in ("final_url", "fallback_url", "rename"):
        with pytest.raises(ValidationError):
            TypeAdapter(SETTINGS[column].body).validate_python(UNFIT[column])


@pytest.mark.parametrize("column", LIVE)
def test_clicks_use_it(column: str) -> None:
    value = stored(column)
    state: dict[str, Any] = {"is_active": False} if column in OF_PAUSED else {}
    given = {column: json.dumps(value) if SETTINGS[column].sql == "jsonb" else value}
    state |= {name: text.split() for name, text in OTHERS.get(column, {}).items()}
    plain, told = of_clicks(**state), of_clicks(**state, **given)
    assert told != plain, f"Offer has no field for {column}"


@pytest.mark.parametrize("column", [column for column in SETTINGS if column not in ("offer_name", "final_url")])
def test_the_readme_has_a_row_for_it(column: str) -> None:
    options = [option.flag for option in SETTINGS[column].options] or ARGUMENTS[column].split()
    rows = [line for line in README.splitlines() if line.startswith("| `--") and f"| `{column}`" in line]
    assert len(rows) == 1
    after = README.partition(rows[0])[2].partition("\n\n")[2].partition("\n\n")[0]
    said = {word.strip("|`/.,:") for word in f"{rows[0]} {after}".split()}
    assert set(options) <= said
    assert {option.negative for option in SETTINGS[column].options if option.negative} <= said
