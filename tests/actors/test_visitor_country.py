"""The sources of a visitor's country, in their order; the header of a trusted proxy; the mmdb file."""

import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trio
import trio.testing

from daemon.click import country_file
from daemon.click.country_file import READING, CountryFile, country_in_record
from daemon.click.visitor import Visitor, trusted_proxies, visitor_of
from daemon.click.visitor_country import VisitorCountries
from daemon.errors import BadSettings
from daemon.journal.entries import TracePending
from daemon.pool.states import Ip
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.settings.sources import load
from daemon.troubles import Troubles
from daemon.web.query import Inbound, parse_click
from tests.actors.clicking import Face, lands_at, served_by
from tests.fakes.entries import of_kind
from tests.support.logged_errors import LoggedErrors
from tests.support.mmdb import write_mmdb
from tests.support.waiting import until

GERMAN, BRITISH, UNKNOWN = "198.51.100.7", "2001:db8::7", "192.0.2.1"
RECORDS: dict[str, Any] = {
    "198.51.100.0/24": {"country": {"iso_code": "DE"}, "registered_country": {"iso_code": "US"}},
    "2001:db8::/32": {"country": {"iso_code": "GB"}},
}


def file_of(path: Path | str, **click: Any) -> tuple[CountryFile, LiveSettings, Troubles]:
    live, troubles = LiveSettings(Settings(click={"country_file": str(path), **click})), Troubles()
    return CountryFile(live, troubles), live, troubles


@pytest.mark.parametrize(
    ("query", "header", "address", "country", "source"),
    [
        ("", None, UNKNOWN, "us", "first"),
        ("geo=de", "GB", GERMAN, "de", "parameter"),
        ("GEO=Germany", "GB", GERMAN, "de", "parameter"),
        ("geo=XX", "GB", GERMAN, "uk", "header"),
        ("geo=%7Bgeo%7D", "gb", GERMAN, "uk", "header"),
        ("geo=", "T1", GERMAN, "de", "file"),
        ("", None, BRITISH, "uk", "file"),
        ("geo=fr", "GB", GERMAN, "us", "first"),
        ("", "FR", GERMAN, "us", "first"),
        ("geo=de&geo=uk", None, None, "de", "parameter"),
        ("country=de", "", "no address", "us", "first"),
        ("geo=" + "x" * 9_999, "x" * 2_048, "::ffff:192.0.2.1", "us", "first"),
    ],
)
async def test_the_first_source_that_names_a_country_counts(
    query: str, header: str | None, address: str | None, country: str, source: str, tmp_path: Path
) -> None:
    write_mmdb(tmp_path / "c.mmdb", RECORDS)
    file, live, _ = file_of(tmp_path / "c.mmdb", country_param="geo")
    await file.look()
    face = Face()
    face.offer(countries=["us", "de", "uk"])
    offer = face.offers.find("sale")
    inbound = parse_click(f"offer=sale&{query}".encode())
    assert offer is not None
    assert isinstance(inbound, Inbound)
    visitor = Visitor(address, None, None, None, header)
    chosen, by = VisitorCountries(live, file).offer_for(offer, inbound.params, visitor)
    assert (chosen.country, by) == (country, source)


async def test_a_click_is_traced_and_recorded_in_its_country(autojump_clock: trio.testing.MockClock) -> None:
    file, live, _ = file_of("", country_param="geo")
    face = Face()
    face.directory.open("de", [Ip(uuid4(), "198.51.100.2", "7000", "DE", "luna")])
    german = {"de": [{"url": "https://ads.example/{country}"}]}
    face.offer(countries=["us", "de"], country_urls=json.dumps(german), country_param="land")
    face.clicks.in_country = VisitorCountries(live, file).offer_for
    async with served_by(face, lands_at("https://shop.example/")):
        answer = await face.click(b"offer=sale&geo=us&land=Germany")
    assert answer.location == "https://shop.example/?geo=us&land=Germany"
    [pending] = of_kind(TracePending, face.journal.entries)
    assert (pending.target_country, pending.tracking_url) == ("de", "https://ads.example/DE")
    assert (face.hit.country, face.hit.outcome) == ("de", "resolved")


@pytest.mark.parametrize(
    ("peer", "fields", "country"),
    [
        ("10.0.0.1", [(b"CF-IPCountry", b" DE ")], "DE"),
        ("10.0.0.1", [(b"cf-ipcountry", b"DE"), (b"CF-IPCountry", b"DE")], "DE"),
        ("10.0.0.1", [(b"cf-ipcountry", b"DE"), (b"CF-IPCountry", b"US")], None),
        ("10.0.0.1", [(b"x-country", b"DE")], None),
        ("192.0.2.9", [(b"cf-ipcountry", b"DE")], None),
        (None, [(b"cf-ipcountry", b"DE")], None),
    ],
)
def test_the_header_is_believed_from_trusted_proxies_only(
    peer: str | None, fields: list[tuple[bytes, bytes]], country: str | None
) -> None:
    trusted = trusted_proxies(["10.0.0.0/8"], "auto", "CF-IPCountry")
    assert visitor_of(peer, fields, trusted).country == country
    assert visitor_of(peer, fields, trusted_proxies(["10.0.0.0/8"])).country is None


def test_a_header_without_trusted_proxies_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "tracepool.toml"
    config.write_text('[click]\ncountry_header = "CF-IPCountry"\n')
    with pytest.raises(BadSettings, match="country_header = 'CF-IPCountry' needs trusted_proxies"):
        load(config)


@pytest.mark.parametrize(
    ("record", "country"),
    [
        ({"country": {"iso_code": "DE"}, "registered_country": {"iso_code": "US"}}, "DE"),
        ({"registered_country": {"iso_code": "US"}}, None),
        ({"country": "United States", "country_code": "US"}, "US"),
        ({"country": "US", "country_name": "United States"}, "US"),
        ({"country": {"iso_code": 7}}, None),
        ({"autonomous_system_number": 1}, None),
        ("US", None),
        (None, None),
    ],
)
def test_records_of_several_vendors_are_read(record: object, country: str | None) -> None:
    assert country_in_record(record) == country


async def test_a_file_is_followed_and_a_bad_one_changes_nothing(tmp_path: Path, expected_errors: LoggedErrors) -> None:
    expected_errors.expect("file_unusable")
    path = tmp_path / "c.mmdb"
    file, live, troubles = file_of(path)
    await file.look()
    assert [trouble.activity for trouble in troubles] == [READING]
    assert "No such file" in troubles.lines()[0]
    assert file.find(GERMAN) is None
    write_mmdb(path, RECORDS)
    await file.look()
    assert (file.find(GERMAN), file.find(BRITISH), file.find(UNKNOWN)) == ("DE", "GB", None)
    assert file.find(f"::ffff:{GERMAN}") == "DE"
    assert (file.find(None), file.find("unix"), list(troubles)) == (None, None, [])
    whole = path.read_bytes()
    for content, why in ((b"", "no mmdb file"), (b"junk" * 99, "no mmdb file"), (whole[:-40], "no mmdb file")):
        path.write_bytes(content)
        await file.look()
        assert why in troubles.lines()[0]
        assert file.find(GERMAN) == "DE", "the file before stays in use"
    write_mmdb(path, {"0.0.0.0/0": {"autonomous_system_number": 1}}, kind="Test-ASN")
    await file.look()
    assert "its records have no countries (it is a Test-ASN)" in troubles.lines()[0]
    write_mmdb(path, {"198.51.100.0/24": {"country": "AT"}})
    await file.look()
    assert (file.find(GERMAN), list(troubles)) == ("AT", [])
    live.replace(Settings())
    await file.look()
    assert file.find(GERMAN) is None


async def test_a_file_that_comes_back_as_it_was_ends_the_trouble(tmp_path: Path, expected_errors: LoggedErrors) -> None:
    expected_errors.expect("file_unusable")
    path, aside = tmp_path / "c.mmdb", tmp_path / "aside"
    write_mmdb(path, RECORDS)
    file, _, troubles = file_of(path)
    await file.look()
    path.rename(aside)
    path.mkdir()
    await file.look()
    assert "this is no regular file" in troubles.lines()[0]
    path.rmdir()
    os.mkfifo(path)
    with trio.fail_after(10):
        await file.look()
    assert "this is no regular file" in troubles.lines()[0]
    path.unlink()
    aside.rename(path)
    await file.look()
    assert (file.find(GERMAN), list(troubles)) == ("DE", [])


async def test_the_actor_looks_again_after_a_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(country_file, "CHECK_S", 3_600)
    write_mmdb(tmp_path / "c.mmdb", RECORDS)
    file, live, _ = file_of("")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.run)
        await trio.testing.wait_all_tasks_blocked()
        live.replace(Settings(click={"country_file": str(tmp_path / "c.mmdb")}))
        await until(lambda: file.find(GERMAN) == "DE", "the file is read")
        nursery.cancel_scope.cancel()
