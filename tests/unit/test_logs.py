"""A log line shows no secret, in whatever form the secret occurs."""

import base64
import io
import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import structlog

from daemon import logs
from daemon.settings.model import Settings
from daemon.settings.sources import hide_secrets

PLAIN = "c4n4ry-w0rd"
SPECIAL = "c4n4ry:p@ss/w%rd?&\"'\\é x"
SHORT, LONG = "c4n4ry", "c4n4ry-and-more"


@pytest.fixture(autouse=True)
def lines() -> Iterator[io.StringIO]:
    """The log of a test. Afterwards the set-up of logging and the secrets are restored."""
    root, configured = logging.getLogger(), structlog.get_config()
    before = root.handlers[:], root.level, logs._secrets[:]
    stream = io.StringIO()
    logs.configure("debug", stream)
    yield stream
    root.handlers[:], level, logs._secrets[:] = before
    root.setLevel(level)
    structlog.configure(**configured)


def forms_of(secret: str) -> list[str]:
    return [
        *(secret, quote(secret), quote(secret, safe=""), quote_plus(secret)),
        *(
            json.dumps(secret),
            repr(secret),
            repr([secret]),
            repr(secret.encode()),
            f"postgresql://u:{quote(secret, safe='')}@db.example/x",
        ),
    ]


@pytest.mark.parametrize("secret", [PLAIN, SPECIAL, quote(SPECIAL, safe="")])
def test_a_secret_is_masked_in_every_form(secret: str, lines: io.StringIO) -> None:
    logs.hide(secret)
    log = structlog.get_logger("test")
    for form in forms_of(SPECIAL if secret != PLAIN else PLAIN):
        assert "c4n4ry" not in logs.masked(f"before {form} after")
        assert logs.masked(f"before {form} after").startswith("before ")
        log.info("it", text=form, deep={"a": [(form,)]}, thing=ValueError(form), raw=form.encode())
        logging.getLogger("library").warning("a library says %s", form)
    assert "c4n4ry" not in lines.getvalue()
    assert len(lines.getvalue().splitlines()) == 2 * len(forms_of(PLAIN))


def test_a_traceback_is_masked_with_the_exceptions_before_it(lines: io.StringIO) -> None:
    logs.hide(SPECIAL)
    try:
        try:
            raise OSError(f"no way to {SPECIAL}")
        except OSError as e:
            raise ExceptionGroup(f"{SPECIAL!r}", [ValueError(quote(SPECIAL)), e]) from e
    except ExceptionGroup:
        structlog.get_logger("test").exception("crashed")
        logging.getLogger("library").exception("crashed")
    for line in map(json.loads, lines.getvalue().splitlines()):
        assert "Traceback" in line["exception"]
        assert logs.MASK in line["exception"]
    assert "c4n4ry" not in lines.getvalue()


def test_a_secret_inside_another_one_does_not_uncover_it() -> None:
    for secret in (SHORT, LONG):
        logs.hide(secret)
    assert logs.masked(f"{LONG} {SHORT}") == f"{logs.MASK} {logs.MASK}"


def test_a_long_text_is_cut_in_its_middle(lines: io.StringIO) -> None:
    structlog.get_logger("test").error("it", why="begin" + "." * 10_000 + "the cause")
    why = json.loads(lines.getvalue())["why"]
    assert why.startswith("begin.")
    assert why.endswith(".the cause")
    assert len(why) < 4_100


def test_a_new_level_holds_for_loggers_that_exist(lines: io.StringIO) -> None:
    log = structlog.get_logger("test")
    log.debug("first")
    for level in ("warning", "info"):
        logs.configure(level, lines)
        log.debug("never")
        log.info(f"at {level}")
        log.warning("always")
    events = [json.loads(line)["event"] for line in lines.getvalue().splitlines()]
    assert events == ["first", "always", "at info", "always"]


def test_a_librarys_line_looks_like_ours(lines: io.StringIO) -> None:
    structlog.get_logger("test").warning("a word", n=1)
    logging.getLogger("library").warning("a word")
    ours, theirs = map(json.loads, lines.getvalue().splitlines())
    assert list(ours) == ["n", "event", "level", "ts"]
    assert list(theirs) == ["event", "level", "ts"]
    assert ours["level"] == theirs["level"] == "warning"


def test_a_log_that_cannot_be_written_ends_nothing(lines: io.StringIO) -> None:
    lines.close()
    structlog.get_logger("test").error("unheard")


def test_an_ordinary_short_word_is_no_secret() -> None:
    logs.hide("")
    logs.hide("pw")
    assert logs.masked("the pwd is a word") == "the pwd is a word"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{PLAIN}@db.example:5432/x",
        f"postgresql://u:{PLAIN}@a.example:1,b.example:2/x",
        f"postgresql://u@/x?host=/run/pg&password={PLAIN}",
        f"postgresql://u:one:{PLAIN}@db.example/x",
        f"postgresql://u:at%40{PLAIN}@db.example/x",
        f"host=db.example user=u password='{PLAIN}'",
    ],
)
def test_the_database_urls_password_is_found_wherever_it_stands(url: str) -> None:
    hide_secrets(Settings.model_validate({"database": {"url": url}}))
    shown = logs.masked(f"{url}: no such host {PLAIN!r}")
    assert PLAIN not in shown
    assert "db.example" in shown or "db.example" not in url


def test_a_providers_password_is_masked_as_its_proxies_get_it() -> None:
    providers: dict[str, Any] = {"luna": {"username": "customer", "password": SPECIAL}}
    hide_secrets(Settings.model_validate({"providers": providers}))
    header = "Basic " + base64.b64encode(f"customer:{SPECIAL}".encode()).decode()
    assert logs.masked(f"Proxy-Authorization: {header}") == f"Proxy-Authorization: Basic {logs.MASK}"
    assert logs.masked(f"user customer, password {SPECIAL}") == f"user customer, password {logs.MASK}"


@pytest.mark.parametrize("before", ["", "u", "us", "use", "user"])
@pytest.mark.parametrize("after", ["", "_session-1", "_country-us_session-abc1"])
def test_a_password_is_masked_in_whatever_login_it_is_a_part_of(before: str, after: str) -> None:
    providers: dict[str, Any] = {"luna": {"username": "customer", "password": SPECIAL}}
    hide_secrets(Settings.model_validate({"providers": providers}))
    login = f"{before}:{SPECIAL}{after}"
    assert logs.masked(login) == f"{before}:{logs.MASK}{after}"
    shown = logs.masked(base64.b64encode(login.encode()).decode())
    assert logs.MASK in shown
    assert len(shown) <= 2 * len(before + after) + len(logs.MASK) + 8, "no more is left than what stands around it"
