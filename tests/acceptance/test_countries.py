"""An offer with several countries: each click is traced in its visitor's, by the sources that the operator named."""

from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx

from tests.fakes.network import FakeNetwork
from tests.support.mmdb import write_mmdb
from tests.support.processes import Serving, control_request, network_of, provision, run_command, serving
from tests.support.waiting import PATIENCE_S, until

PROXIES = {"us": "127.2.7.1", "de": "127.2.7.2", "uk": "127.2.7.3"}
LANDING = "www.shop.example"
HERE = "127.0.0.1"
FROM_BRITAIN, FROM_NOWHERE = "203.0.113.9", "192.0.2.1"


async def landed(daemon: Serving, query: str, **headers: str) -> dict[str, str]:
    """The parameters of the URL that a visitor with this query and these headers is redirected to."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(trust_env=False, timeout=20) as visitor:
        answer = await visitor.get(f"{daemon.url}/track-hit?{query}", headers=names)
    assert answer.status_code == 302
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query, keep_blank_values=True))


async def command(daemon: Serving, *arguments: str) -> tuple[int, str]:
    adopted = len(daemon.log("offers_adopted"))
    done = await run_command(*arguments, TRACEPOOL_STATE_DIR=str(daemon.state_dir))
    if arguments[0] == "offers" and done.returncode == 0:
        await until(lambda: len(daemon.log("offers_adopted")) > adopted, "the offer is adopted")
    return done.returncode, done.stderr


async def test_a_visitors_country_is_by_parameter_header_and_file_and_else_the_first(state_dir: Path) -> None:
    file = state_dir / "countries.mmdb"
    click: dict[str, object] = {"country_param": "geo", "country_header": "CF-IPCountry", "trusted_proxies": [HERE]}
    click["country_file"] = str(file)
    settings: dict[str, dict[str, object]] = {"click": click, "pool": {"cooldown_s": 0}}
    async with network_of([*PROXIES.values()]) as network, serving(state_dir, settings) as daemon:
        [unusable] = await daemon.logged("file_unusable")
        assert str(file) in unusable["why"]
        assert "mmdb" in unusable["remedy"]
        [trouble] = daemon.status()["troubles"]
        assert trouble["activity"] == "reading click.country_file"
        for country, address in PROXIES.items():
            await provision(daemon, network, [address], country)
        await several_countries(daemon, network)

        at = partial(landed, daemon)
        assert (await at("offer=world"))["c"] == "US"
        assert (await at("offer=world&geo=Germany"))["u"] == "de"
        assert (await at("offer=world&geo=%7Bcountry%7D", CF_IPCountry="DE"))["c"] == "DE"
        assert (await at("offer=world&geo=FR", CF_IPCountry="DE"))["c"] == "US", "the offer does not have France"
        for special in ("XX", "T1", "EU", "A1", "AP", "ZZ"):
            assert (await at("offer=world", CF_IPCountry=special))["c"] == "US"

        write_mmdb(file, {"203.0.113.0/24": {"country": {"iso_code": "GB"}}, f"{HERE}/32": {"country": "DE"}})
        await daemon.logged("country_file_read")
        assert (await at("offer=world", X_Forwarded_For=FROM_BRITAIN))["c"] == "GB"
        assert (await at("offer=world", X_Forwarded_For=FROM_NOWHERE))["c"] == "US"
        assert (await at("offer=world", X_Forwarded_For=FROM_BRITAIN, CF_IPCountry="T1"))["c"] == "GB"
        assert (await at("offer=world", X_Forwarded_For=FROM_BRITAIN, CF_IPCountry="DE"))["c"] == "DE"
        assert (await at("offer=one&geo=de&x=1", CF_IPCountry="DE"))["c"] == "US", (
            "an offer of one country asks nothing"
        )

        file.write_bytes(file.read_bytes()[:100])
        await daemon.logged("file_unusable", 2)
        assert (await at("offer=world", X_Forwarded_For=FROM_BRITAIN))["c"] == "GB", "the file before stays in use"
        assert len(daemon.status()["troubles"]) == 1
        await rows_have_the_country(daemon)
        await edited_by_sql(daemon, network)
        assert await daemon.stop() == 0
        assert {fault["event"] for fault in daemon.faults()} == {"file_unusable"}


async def several_countries(daemon: Serving, network: FakeNetwork) -> None:
    chain = network.chain_url(hops=1, landing=LANDING)
    german = ("--country-url", f"de:{chain}?c={{country}}&u=de", "--allow-private")
    countries = ("--country", "usa", "--country", "Germany,gb")
    assert await command(daemon, "offers", "add", "world", f"{chain}?c={{country}}", *countries, *german) == (0, "")
    assert await command(daemon, "offers", "add", "one", f"{chain}?c={{country}}", "--allow-private") == (0, "")
    status, why = await command(daemon, "offers", "update", "world", "--country", "germny")
    assert (status, "'germny' is no country of ISO 3166: did you mean de (Germany)" in why) == (2, True)


async def rows_have_the_country(daemon: Serving) -> None:
    """The lease's IP, the row of the trace, the hit, the log and the report name the same country."""
    query = (
        "select h.country, t.target_country, t.ip_assigned from hits h join active_trace_requests t using (request_id)"
    )

    async def shipped() -> bool:
        rows = [tuple(row) for row in await daemon.psql(query)]
        return len(rows) >= 16 and all(row == (row[0], row[0], PROXIES[row[0]]) for row in rows)

    await until(shipped, "the rows are shipped", PATIENCE_S)
    report = control_request(daemon, "/api/reports?by=country").json()["items"]
    assert {group["country"] for group in report} == set(PROXIES)
    for path in ("/api/offers?country=gb", "/api/hits?country=GBR"):
        assert {row["offer_name"] for row in control_request(daemon, path).json()["items"]} == {"world"}
    assert {line["country_by"] for line in daemon.log("click") if "country_by" in line} == {
        *("first", "parameter", "header", "file")
    }


async def edited_by_sql(daemon: Serving, network: FakeNetwork) -> None:
    """Operators' statements on target_country go on working."""
    assert await daemon.psql("select target_country, countries from offers where offer_name = 'world'") == [
        ["us", "{us,de,uk}"]
    ]
    adopted = len(daemon.log("offers_adopted"))
    await daemon.psql("update offers set target_country = 'de' where offer_name = 'world'")
    assert await daemon.psql("select countries from offers where offer_name = 'world'") == [["{de,uk}"]]
    await until(lambda: len(daemon.log("offers_adopted")) > adopted, "the edit is adopted")
    assert (await landed(daemon, "offer=world"))["u"] == "de"
