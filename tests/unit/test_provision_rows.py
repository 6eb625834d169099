"""Files of IPs: which records are accepted, which are refused and why; no other outcome."""

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.database.records import RefusedRecord, decoded
from daemon.errors import BadInput
from daemon.pool.provision_rows import COLUMNS, NewIP, generated_ips, new_ip, read_ips
from daemon.web.endpoints import IPV4_HINT


def ip(
    address: str, port: str = "7000", country: str = "us", provider: str = "luna", notes: str | None = None
) -> NewIP:
    return NewIP(address, port, country, provider, notes)


def refusals(text: str) -> dict[int, str]:
    return {refused.line: refused.reason for refused in read_ips(text).refused}


def test_only_the_address_is_required() -> None:
    assert read_ips("ip_address\n192.0.2.1\n").rows == (ip("192.0.2.1"),)
    assert read_ips('{"ip_address": "192.0.2.1"}\n').rows == (ip("192.0.2.1"),)


def test_columns_stand_in_any_order_and_are_stripped() -> None:
    read = read_ips(' Country , IP_Address,notes\n "uk", 192.0.2.1 ,\n')
    assert read.rows == (ip("192.0.2.1", country="uk"),)
    assert read.refused == ()


def test_a_spreadsheets_file_is_read() -> None:
    content = (
        b'\xef\xbb\xbfip_address,ip_port,notes\r\n192.0.2.1,7001,"a, ""b"""\r\n\r\n  \r\n192.0.2.2,7002,\xc3\xa9\r\n'
    )
    assert read_ips(decoded(content)).rows == (
        ip("192.0.2.1", "7001", notes='a, "b"'),
        ip("192.0.2.2", "7002", notes="é"),
    )


def test_json_lines_take_a_port_as_a_number_and_null_as_not_given() -> None:
    text = '\n{"ip_address": "test-ip-1", "ip_port": 8000, "country": null}\r\n\n{"ip_address": "test-ip-2"}'
    assert read_ips(text).rows == (ip("test-ip-1", "8000"), ip("test-ip-2"))


def test_a_country_stays_as_it_is_spelt() -> None:
    assert read_ips("ip_address,country\n192.0.2.1, GB \n").rows[0].country == "GB"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",7000,us", "ip_address is blank"),
        ("  ,7000,us", "ip_address is blank"),
        ("192.0.2.1,0,us", "ip_port '0' is not a port from 1 to 65535"),
        ("192.0.2.1,65536,us", "ip_port '65536' is not a port from 1 to 65535"),
        ("192.0.2.1,http,us", "ip_port 'http' is not a port from 1 to 65535"),
        ("192.0.2.1,,us", "ip_port is blank"),
        ("192.0.2.1,7000, ", "country is blank"),
        ("192.0.2.1,7000," + "x" * 65, "country is 65 characters long; at most 64 are allowed"),
        ("a" * 254 + ",7000,us", "ip_address is 254 characters long; at most 253 are allowed"),
        ("192.0.2.1,7000,u\x1bs", "country holds a control character, U+001B"),
        ('192.0.2.1,7000,"u\ns"', "country holds a control character, U+000A"),
        ("192.0.2.1,7000,u\udce9s", "country is not UTF-8"),
        ("192.0.2,7000,us", f"ip_address '192.0.2' is neither an IP address nor a host name: {IPV4_HINT}"),
        ("192.0.2.1,7000", "2 fields where the header has 3"),
        ("192.0.2.1,7000,us,luna", "4 fields where the header has 3"),
        ('"192.0.2.1"x,7000,us', "something stands between a closing quote and the next comma"),
    ],
)
def test_a_bad_row_is_refused_with_its_line_and_the_rest_goes_in(row: str, reason: str) -> None:
    read = read_ips(f"ip_address,ip_port,country\n192.0.2.8,7000,us\n{row}\n192.0.2.9,7000,us\n")
    assert read.rows == (ip("192.0.2.8"), ip("192.0.2.9"))
    assert read.refused == (RefusedRecord(3, reason),)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"ip_address": ""}', "ip_address is blank"),
        ('{"ip_port": 7000}', "ip_address is missing"),
        ('{"ip_address": null}', "ip_address is missing"),
        ('{"ip_address": 3}', "ip_address must be text in quotes, not a number"),
        ('{"ip_address": ["192.0.2.1"]}', "ip_address must be text in quotes, not a list"),
        ('{"ip_address": "192.0.2.1", "ip_port": true}', "ip_port must be text in quotes, not true or false"),
        ('{"ip_address": "192.0.2.1", "ip_port": 70000}', "ip_port '70000' is not a port from 1 to 65535"),
        ('{"ip_address": "192.0.2.1", "country": "\\u0000"}', "country holds a control character, U+0000"),
        ('{"ip_address": "192.0.2.1", "country": "\\ud800"}', "country is not UTF-8"),
        (
            '{"ip_address": "192.0.2.1", "ip": "x"}',
            "unknown key 'ip'; allowed: ip_address, ip_port, country, provider, notes",
        ),
        ('"192.0.2.1"', "not a JSON object"),
        ("[" * 100_000, "not JSON that can be read: nested too deeply"),
    ],
)
def test_a_bad_line_of_json_is_refused_and_the_rest_goes_in(line: str, reason: str) -> None:
    read = read_ips(f'{{"ip_address": "192.0.2.8"}}\n{line}\n{{"ip_address": "192.0.2.9"}}\n')
    assert read.rows == (ip("192.0.2.8"), ip("192.0.2.9"))
    assert read.refused == (RefusedRecord(2, reason),)


def test_a_line_that_is_no_json_is_refused_with_the_parsers_reason() -> None:
    assert refusals('{"ip_address": "192.0.2.8"}\n{"ip_address": }\n')[2].startswith("not JSON: Expecting value")


def test_a_quote_left_open_costs_what_follows_it_and_says_where_it_began() -> None:
    read = read_ips('ip_address,notes\n192.0.2.1,a\n192.0.2.2,"b\n192.0.2.3,c\n')
    assert read.rows == (ip("192.0.2.1", notes="a"),)
    assert read.refused == (RefusedRecord(3, "a quote is opened and never closed"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ip_address,colour\n", "line 1: unknown column 'colour'; allowed: ip_address, ip_port, country, pro"),
        ("ip_address;ip_port\n", "with commas between them"),
        ("192.0.2.1,7000\n", "unknown column '192.0.2.1'"),
        ("\n\nip_port\n", "line 3: the column ip_address is missing"),
        ("ip_address,IP_ADDRESS\n", "the column ip_address is there twice"),
        ('[{"ip_address": "192.0.2.1"}]', "JSON array"),
        ('"ip_address\n', "the first line must name the columns"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_says_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message.replace("[", r"\[")):
        read_ips(text)


def test_utf_16_is_named() -> None:
    with pytest.raises(BadInput, match="UTF-16"):
        decoded("ip_address\n".encode("utf-16"))


def test_an_empty_file_has_no_rows() -> None:
    assert read_ips("").rows == read_ips("\n \n").rows == read_ips("ip_address\n").rows == ()


def test_generated_ips_are_numbered_from_one() -> None:
    assert list(generated_ips("luna-us-", 2, "7000", "us", "luna")) == [ip("luna-us-1"), ip("luna-us-2")]


@pytest.mark.parametrize(
    ("prefix", "count", "port", "country"),
    [("a b", 1, "7000", "us"), ("a", 0, "7000", "us"), ("a", 1_000_001, "7000", "us"), ("a", 1, "x", "us"),
     ("a", 1, "7000", " "), ("a" * 252, 10, "7000", "us")],
)  # fmt: skip
def test_what_a_file_would_be_refused_for_is_not_generated(prefix: str, count: int, port: str, country: str) -> None:
    with pytest.raises(BadInput):
        generated_ips(prefix, count, port, country, "luna")


words = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=64)
good_rows = st.lists(
    st.builds(
        NewIP,
        st.from_regex(r"[a-z][a-z0-9]{1,20}(-[a-z0-9]{1,20})?", fullmatch=True),
        st.integers(1, 65_535).map(str),
        words,
        words,
        st.none() | words,
    ),
    max_size=20,
)


@given(good_rows)
@settings(deadline=None)
def test_what_is_written_as_csv_or_json_lines_is_read_back(rows: list[NewIP]) -> None:
    fields = [{column: getattr(row, column) for column in COLUMNS} for row in rows]
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(fields)
    lines = "\n".join(json.dumps(row) for row in fields)
    assert read_ips(file.getvalue()).rows == read_ips(lines).rows == tuple(rows)


@given(st.binary(max_size=300) | st.text("ip_addrescountry,;\"'\r\n{}[]:\\ 7\x00é", max_size=300).map(str.encode))
@settings(deadline=None)
def test_whatever_the_bytes_a_file_is_read_or_called_bad_and_good_rows_are_good(content: bytes) -> None:
    for prefix in (b"", b"ip_address,notes\n", b'{"ip_address": "192.0.2.1"}\n'):
        try:
            read = read_ips(decoded(prefix + content))
        except BadInput:
            continue
        lines = [refused.line for refused in read.refused]
        assert lines == sorted(set(lines))
        for row in read.rows:
            assert new_ip({column: getattr(row, column) for column in COLUMNS}) == row
            "".join(filter(None, (row.ip_address, row.country, row.notes))).encode()
