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
from daemon.providers.settings import Provider
from daemon.web.endpoints import IPV4_HINT, canonical_endpoint


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
        ("192.0.2.1,7000," + "x" * 65, "country is 65 characters long; at most 64 are allowed"),
        ("a" * 2_501 + ",7000,us", "ip_address is 2501 characters long; at most 2500 are allowed"),
        ("192.0.2.1,7000,u\x1bs", "country holds a control character, U+001B"),
        ('192.0.2.1,7000,"u\ns"', "country holds a control character, U+000A"),
        ("192.0.2.1,7000,u\udce9s", "country is not UTF-8"),
        ("192.0.2,7000,us", f"ip_address '192.0.2' is neither an IP address nor a host name: {IPV4_HINT}"),
        ("192.0.2.1,7000,us,luna", "4 fields where the header has 3"),
        ('"192.0.2.1"x,7000,us', "something stands between a closing quote and the next separator"),
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
            "unknown key 'ip'; allowed: ip_address, ip_port, country, provider, notes, username, password",
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
        ("\n\nip_port\n", "line 3: the column ip_address is missing"),
        ("ip_address,IP_ADDRESS\n", "the column ip_address is there twice"),
        ('[{"ip_address": "192.0.2.1"}]', "JSON array"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_says_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message.replace("[", r"\[")):
        read_ips(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("marks", ["", "\ufeff"])
def test_a_byte_order_mark_says_the_encoding(encoding: str, marks: str) -> None:
    assert decoded(f"{marks}ip_address,notes\n192.0.2.1,é\n".encode(encoding)) == "ip_address,notes\n192.0.2.1,é\n"
    big_endian = "\ufeffip_address\n192.0.2.1\n".encode("utf-16-be")
    assert read_ips(decoded(big_endian)).rows == (ip("192.0.2.1"),)


def test_utf_16_without_a_mark_is_named() -> None:
    with pytest.raises(BadInput, match="UTF-16 without a byte order mark"):
        decoded("ip_address\n".encode("utf-16-le"))


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


words = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="="), min_size=1, max_size=64)
good_rows = st.lists(
    st.builds(
        NewIP,
        st.from_regex(r"[a-z][a-z0-9]{1,20}(-[a-z0-9]{1,20})?", fullmatch=True),
        st.integers(1, 65_535).map(str),
        st.sampled_from(["us", "UK", "deu", "Germany"]),
        words,
        st.none() | words,
    ),
    max_size=20,
    unique_by=lambda row: (row.ip_address, row.ip_port),
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


@pytest.mark.parametrize(
    "text",
    [
        "ip_address,ip_port,country,provider\n192.0.2.1,,uk,\n192.0.2.2\n",
        "ip_address,ip_port,country,\n192.0.2.1,7000,uk,\n,,\n , ,\n192.0.2.2,,,x\n",
        "IP Address;Port;Country Code\r192.0.2.1;7000;uk\r192.0.2.2;;\r",
        "ip-address\tPORT\tcountry\n192.0.2.1\t7000\tuk\n192.0.2.2\n",
        "ip_address | ip_port | country\n192.0.2.1 | 7000 | uk\n192.0.2.2 | |\n",
        "ip_address ip_port country\n192.0.2.1  7000 uk\n192.0.2.2\n",
        "# from the vendor\n\nip_address,country\n192.0.2.1,uk\n# the second one\n192.0.2.2,\n",
        'sep=;\r\nip_address;ip_port;country\r\n"192.0.2.1";="7000";uk\r\n192.0.2.2;="";""\r\n',
    ],
)
def test_what_spreadsheets_and_people_write_is_read(text: str) -> None:
    read = read_ips(text)
    assert read.refused == ()
    assert read.rows == (ip("192.0.2.1", country="uk"), ip("192.0.2.2"))


def logged_in(address: str, port: str, username: str | None, password: str | None) -> NewIP:
    return NewIP(address, port, "us", "luna", None, username, password)


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("192.0.2.7", ("192.0.2.7", "7000", None, None)),
        ("192.0.2.7:3128", ("192.0.2.7", "3128", None, None)),
        ("192.0.2.7:3128:bob:pa:ss@9", ("192.0.2.7", "3128", "bob", "pa:ss@9")),
        ("bob:pass@192.0.2.7:3128", ("192.0.2.7", "3128", "bob", "pass")),
        ("bob@mail.example:pass@192.0.2.7:3128", ("192.0.2.7", "3128", "bob@mail.example", "pass")),
        ("192.0.2.7:3128@bob:pass", ("192.0.2.7", "3128", "bob", "pass")),
        ("bob:1234:192.0.2.7:3128", ("192.0.2.7", "3128", "bob", "1234")),
        ("192.0.2.7:3128:bob.b:1234", ("192.0.2.7", "3128", "bob.b", "1234")),
        ("[2001:DB8::7]:3128:bob:pass", ("2001:db8::7", "3128", "bob", "pass")),
        ("2001:db8::7;3128;bob;pass", ("2001:db8::7", "3128", "bob", "pass")),
        ("192.0.2.7;3128;bob;pass;", ("192.0.2.7", "3128", "bob", "pass")),
        ("192.0.2.7:3128;bob;pass", ("192.0.2.7", "3128", "bob", "pass")),
        ("192.0.2.7 3128\tbob  pass", ("192.0.2.7", "3128", "bob", "pass")),
        ("192.0.2.7\t3128\tbob\tpass", ("192.0.2.7", "3128", "bob", "pass")),
        ("192.0.2.7   3128 bob pass  # a remark", ("192.0.2.7", "3128", "bob", "pass")),
        ("bob|pass|192.0.2.7|3128", ("192.0.2.7", "3128", "bob", "pass")),
        ('"192.0.2.7","3128","bob","pa,ss"', ("192.0.2.7", "3128", "bob", "pa,ss")),
        ("http://bob:p%40ss%3A@Gate.Example.:3128/", ("gate.example", "3128", "bob", "p@ss:")),
        ("http://192.0.2.7:3128:bob:pass", ("192.0.2.7", "3128", "bob", "pass")),
        ("192.0.2.7:3128,", ("192.0.2.7", "3128", None, None)),
        ("192.0.2.7:3128;;", ("192.0.2.7", "3128", None, None)),
        ("192.0.2.7:3128:", ("192.0.2.7", "3128", None, None)),
        ('"192.0.2.7:3128"', ("192.0.2.7", "3128", None, None)),
        ('"192.0.2.7:3128:bob:pass";', ("192.0.2.7", "3128", "bob", "pass")),
        ("192.0.2.7:3128::", ("192.0.2.7", "3128", None, None)),
        ("192.0.2.7:99999:bob:canary", None),
        ("bob:canary@192.0.2.7", None),
        ("bob:canary", None),
        ("bob canary", None),
        ("192.0.2.7 99999 bob canary", None),
        ("192.0.2.7;99999;bob;canary", None),
        ("192.0.2.7:3128:canary", None),
        ("192.0.2.7:3128:bob:canary US", None),
        ("gate.example:7000:bob.b:12345", None),
        ("http://bob:canary@192.0.2.7:3128/path", None),
        ("socks4://192.0.2.7:3128", None),
        ("ftp://bob:canary@192.0.2.7:3128", None),
        ("8080", None),
        ("1:2", None),
        ("192.0.2.7:3128:bob:can\x1bary", None),
    ],
)
def test_a_line_of_a_vendors_list_is_a_proxy_or_refused_without_its_login(
    line: str, row: tuple[str, str, str | None, str | None] | None
) -> None:
    read = read_ips(f"192.0.2.9:3128\n{line}\n")
    assert read.rows == (logged_in("192.0.2.9", "3128", None, None), *([logged_in(*row)] if row else ()))
    assert [refused.line for refused in read.refused] == ([] if row else [2])
    assert "canary" not in str(read)
    if row is None:
        with pytest.raises(BadInput) as raised:
            new_ip({"ip_address": line})
        assert "canary" not in str(raised.value)
    else:
        in_a_cell = read_ips(json.dumps({"ip_address": line})).rows
        assert in_a_cell == (logged_in(*row),)


def test_the_form_of_a_list_may_stand_above_it() -> None:
    assert read_ips("IP:PORT:USER:PASS\n192.0.2.7:3128:bob:pass\n").rows == (
        logged_in("192.0.2.7", "3128", "bob", "pass"),
    )


@pytest.mark.parametrize(
    "line",
    ["192.0.2.7:3128:user:pass", "192.0.2.7:3128:proxy:pw", "user:pw@192.0.2.7:3128", "192.0.2.7,3128,proxy,password",
     "192.0.2.7;3128;login;pwd", "proxy:pass:192.0.2.7:3128", "192.0.2.7 3128 user pass"],
)  # fmt: skip
def test_a_login_of_words_that_are_names_of_columns_is_no_header(line: str) -> None:
    read = read_ips(f"{line}\n192.0.2.8:3128:user:pass\n")
    assert [row.ip_address for row in read.rows] == ["192.0.2.7", "192.0.2.8"]
    assert all(row.username and row.password for row in read.rows)


def test_a_table_has_columns_for_the_login() -> None:
    read = read_ips("Host,Port,Login,Password\n192.0.2.7,3128,bob,pa:ss\n192.0.2.8,3128,,\n192.0.2.9,3128,,canary\n")
    assert read.rows == (logged_in("192.0.2.7", "3128", "bob", "pa:ss"), logged_in("192.0.2.8", "3128", None, None))
    assert read.refused == (RefusedRecord(4, "password is given without a username"),)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"ip_address": "192.0.2.7:3128", "ip_port": "3129"}, "ip_address has the port 3128, and ip_port is 3129"),
        ({"ip_address": "192.0.2.7:3128:bob:canary", "password": "canary"}, "ip_address holds a login, and so do"),
        ({"ip_address": "192.0.2.7", "username": "bob:canary"}, "username holds a colon"),
        (
            {"ip_address": "socks5://192.0.2.7:3128"},
            "it is a socks5 proxy, and the IPs of the provider 'luna' are dialled",
        ),
        ({"ip_address": "8080"}, "ip_address '8080' is a number, which is only for sessions at a provider's gateway"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(fields: dict[str, str], reason: str) -> None:
    with pytest.raises(BadInput, match=f"^{reason}") as raised:
        new_ip(fields)
    assert "canary" not in str(raised.value)


def test_the_settings_of_a_provider_say_its_scheme_and_whether_it_has_a_gateway() -> None:
    providers = {"socks": Provider(scheme="socks5"), "gate": Provider(gateway="gate.example:7000", username="customer")}
    assert new_ip({"ip_address": "socks5h://192.0.2.7:3128", "provider": "socks"}, providers).ip_port == "3128"
    assert new_ip({"ip_address": "8080", "provider": "gate"}, providers).ip_address == "8080"
    with pytest.raises(BadInput):
        new_ip({"ip_address": "http://192.0.2.7:3128", "provider": "socks"}, providers)


def test_an_endpoint_that_the_file_repeats_is_named_with_both_lines() -> None:
    text = "gate.example:7000:a:x\ngate.example:7000:b:x\nGATE.example.:07000:a:canary\n192.0.2.7\n::ffff:192.0.2.7\n"
    read = read_ips(text)
    assert [(row.ip_address, row.username) for row in read.rows] == [
        ("gate.example", "a"), ("gate.example", "b"), ("192.0.2.7", None),
    ]  # fmt: skip
    assert read.repeated == (
        RefusedRecord(3, "gate.example:7000 is on line 1 already, with another password, which is not used"),
        RefusedRecord(5, "192.0.2.7:7000 is on line 4 already"),
    )


def test_the_import_says_the_country_and_the_provider_of_rows_that_name_none() -> None:
    read = read_ips("ip_address,country\n192.0.2.1,\n192.0.2.2,de\n", defaults={"country": "uk", "provider": "web"})
    assert [(row.country, row.provider) for row in read.rows] == [("uk", "web"), ("de", "web")]


@pytest.mark.parametrize(("given", "kept"), [("UK", "UK"), ("deu", "deu"), ("Germany", "Germany"), ("Türkiye", "tr")])
def test_a_country_that_sql_can_compare_keeps_its_spelling(given: str, kept: str) -> None:
    assert new_ip({"ip_address": "192.0.2.7", "country": given}).country == kept


@pytest.mark.parametrize("given", ["ukk", "germny", "T1", "us-east"])
def test_a_text_that_is_no_country_is_refused_with_the_nearest(given: str) -> None:
    with pytest.raises(BadInput, match=f"^country: '{given}' is no country of ISO 3166: (did you mean|write)"):
        new_ip({"ip_address": "192.0.2.7", "country": given})


@given(st.text('192.0:@;|,\t #pass/"[]s5ocket', max_size=60))
@settings(deadline=None)
def test_any_line_is_a_canonical_proxy_or_refused(line: str) -> None:
    try:
        row = new_ip({"ip_address": line})
    except BadInput:
        return
    assert canonical_endpoint(row.ip_address, row.ip_port) == (row.ip_address, row.ip_port)
    assert row.username is not None or row.password is None
