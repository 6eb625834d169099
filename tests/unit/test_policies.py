"""Scripts under a Content Security Policy."""

import pytest
from ada_url import URL

from daemon.trace.page.policies import inline_allowed, upgraded
from tests.support.engine import Found, page_read

SCRIPT = "<script>location = '/a'</script>"


def read(page: str, *policies: str) -> Found:
    return page_read(page.encode(), "http://ads.example/", policies=policies)


@pytest.mark.parametrize(
    ("policy", "element", "handler"),
    [
        ("", True, True),
        ("frame-ancestors 'self'; upgrade-insecure-requests", True, True),
        ("script-src 'self'", False, False),
        ("default-src 'none'", False, False),
        ("DEFAULT-SRC 'none'; Script-Src 'Unsafe-Inline'", True, True),
        ("script-src 'unsafe-inline'; script-src 'none'", True, True),
        ("script-src 'unsafe-inline' 'nonce-a'", True, False),
        ("script-src 'unsafe-inline' 'nonce-b'", False, False),
        ("script-src 'sha256-AAAA'", None, None),
        ("script-src 'none'; script-src-elem 'unsafe-inline'", True, False),
        ("script-src-attr 'none'", True, False),
        ("sandbox allow-forms", False, False),
        ("sandbox allow-scripts", True, True),
    ],
)
def test_a_policy_says_which_scripts_run(policy: str, element: bool | None, handler: bool | None) -> None:
    assert inline_allowed([policy], nonce="a") is element
    assert inline_allowed([policy], handler=True) is handler


def test_each_policy_must_allow_the_script() -> None:
    assert inline_allowed(["script-src 'unsafe-inline'", "script-src 'self'"]) is False
    assert inline_allowed([]) is True


def test_a_script_that_a_policy_blocks_does_not_run() -> None:
    blocked = read(SCRIPT, "script-src 'self'")
    assert (blocked.jump, blocked.why, blocked.ran) == (None, None, False), "the engine is not asked"
    meta = "<meta http-equiv=Content-Security-Policy content=\"script-src 'none'\">"
    refresh = "<meta http-equiv=refresh content='0;/b'>"
    found = read(meta + SCRIPT + "<body onload=\"location='/a'\">" + refresh).jump
    assert found is not None
    assert found.url == "http://ads.example/b"
    before = read(SCRIPT + meta).jump
    assert before is not None
    assert read(SCRIPT, "script-src 'sha256-AAAA'").jump is None


@pytest.mark.parametrize(
    ("host", "protocol"), [("ads.example", "https:"), ("localhost.ads.example", "https:"), ("localhost", "http:")]
)
def test_a_refresh_is_upgraded_unless_the_host_is_this_machine(host: str, protocol: str) -> None:
    assert (
        upgraded(f"http://{host}/a", URL(f"https://{host}/"), ["upgrade-insecure-requests"]) == f"{protocol}//{host}/a"
    )
