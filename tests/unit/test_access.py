"""Access to the control face: tokens, listen addresses, hosts, requests from hostile pages."""

import pytest

from daemon.control.access import Denied, Principal, Role, Tokens, hash_of, is_local, refused_change, refused_host

NOW_S = 1_000.0


def tokens(*rows: tuple[str, str, bool], given: str = "", local: bool = True) -> Tokens:
    made = Tokens(given, local=local)
    made.replace(
        {"name": token.upper(), "role": role, "hash": hash_of(token), "revoked_at": 1 if revoked else None}
        for token, role, revoked in rows
    )
    return made


def test_each_token_has_its_name_and_role() -> None:
    known = tokens(("one", "read", False), ("two", "operator", False), given="three")
    assert known.identify("Bearer one", NOW_S) == Principal("ONE", Role.READ)
    assert known.identify("bearer  two ", NOW_S) == Principal("TWO", Role.OPERATOR)
    assert known.identify("Bearer three", NOW_S) == Principal("settings", Role.OPERATOR)
    assert known.used == {hash_of("one"): NOW_S, hash_of("two"): NOW_S}


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer",
        "Bearer ",
        "Bearer four",
        "Bearer one two",
        "Basic b25lOm9uZQ==",
        "one",
        "Bearer " + "x" * 600,
        "Bearer ü",
    ],
)
def test_an_invalid_token_is_denied_even_if_none_is_required(authorization: str) -> None:
    for known in (tokens(), tokens(("one", "read", False))):
        denied = known.identify(authorization, NOW_S)
        assert isinstance(denied, Denied)
        assert denied.status == 401


def test_a_revoked_token_is_denied_and_its_use_not_recorded() -> None:
    known = tokens(("one", "read", True))
    assert isinstance(known.identify("Bearer one", NOW_S), Denied)
    assert not known.used
    assert not known.any_in_force


def test_the_token_of_the_settings_can_be_changed_and_removed() -> None:
    known = tokens(given="before")
    known.use("after")
    assert isinstance(known.identify("Bearer before", NOW_S), Denied)
    assert known.identify("Bearer after", NOW_S) == Principal("settings", Role.OPERATOR)
    known.use("")
    assert isinstance(known.identify("Bearer after", NOW_S), Denied)
    assert known.identify(None, NOW_S) == Principal("open", Role.OPERATOR)


def test_a_request_from_another_machine_needs_a_token() -> None:
    denied = tokens(local=False).identify(None, NOW_S)
    assert isinstance(denied, Denied)
    assert denied.status == 401


@pytest.mark.parametrize(
    ("bind", "local"),
    [
        ("127.0.0.1:8081", True),
        ("127.8.9.1:1", True),
        ("[::1]:8081", True),
        ("localhost:8081", True),
        ("unix:/run/x.sock", True),
        ("0.0.0.0:8081", False),
        ("[::]:8081", False),
        ("192.0.2.1:8081", False),
        ("[fe80::1%lo]:8081", False),
        ("localhost.example:8081", False),
        ("[::ffff:192.0.2.1]:8081", False),
    ],
)
def test_which_addresses_only_this_machine_reaches(bind: str, local: bool) -> None:
    assert is_local(bind) is local


@pytest.mark.parametrize(
    "host", ["localhost", "localhost.", "a.localhost:1", "127.0.0.1", "[::1]", "[::1]:80", "CONTROL.example"]
)
def test_known_hosts(host: str) -> None:
    assert refused_host(host, ("control.example",)) is None


@pytest.mark.parametrize(
    "host",
    ["", ":8081", "evil.example", "xlocalhost", "localhost.evil.example", "127.0.0.1.evil.example", "1", "0x7f.1"],
)
def test_hosts_that_another_site_could_point_here_are_refused(host: str) -> None:
    assert refused_host(host, ("control.example",)) is not None


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_reading_is_never_a_change(method: str) -> None:
    assert refused_change(method, {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}, ()) is None


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_program_other_than_a_browser_may_change_things_with_any_content_type(content_type: str | None) -> None:
    headers = {"Host": "127.0.0.1:8081"} | ({"Content-Type": content_type} if content_type else {})
    assert refused_change("POST", headers, ()) is None


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8081", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_the_page_of_another_site_may_not_change_anything_even_with_a_token(
    method: str, headers: dict[str, str]
) -> None:
    denied = refused_change(method, {"Host": "127.0.0.1:8081", "Authorization": "Bearer x", **headers}, ())
    assert denied is not None
    assert denied.status == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_a_page_of_the_face_itself_may_change_things(site: str) -> None:
    headers = {"Host": "127.0.0.1:8081", "Origin": "http://127.0.0.1:8081", "Sec-Fetch-Site": site}
    assert refused_change("POST", headers, ()) is None
