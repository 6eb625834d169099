"""The documents and the examples in config/ name no file, setting or command that does not exist."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from daemon.cli.app import build_app
from daemon.providers.settings import Provider
from daemon.settings.model import Settings
from daemon.settings.sources import FORMER_KEYS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
TOP = ("daemon", "tests", "config", "systemd", ".ci", ".github")
DOCUMENTS = [
    *(path for path in (ROOT / "README.md", ROOT / "daemon/ARCHITECTURE.md") if path.exists()),
    *sorted((ROOT / ".github").glob("*.md")),
    *sorted((ROOT / "config").iterdir()),
]
PATHS = {
    str(path.relative_to(ROOT))
    for top in TOP
    for path in (ROOT / top, *(ROOT / top).rglob("*"))
    if "__pycache__" not in path.parts
} | {path.name for path in ROOT.iterdir()}
ENDINGS = {path[at:] for path in PATHS for at, sign in enumerate(f"/{path}") if sign == "/"}
DEFAULTS = Settings.model_construct().model_dump()
SECTIONS = {name: set(values) for name, values in DEFAULTS.items() if isinstance(values, dict) and name != "providers"}
PROVIDER = set(Provider.model_fields)

FILE = re.compile(r"(?:[\w.-]+/)*(?:[\w-]+\.(?:py|md|sql|toml|html)|[\w.-]+/)")
IN_TREE = re.compile(rf"(?<![\w/.-])(?:{'|'.join(map(re.escape, TOP))})/[\w./-]*\w")
MODULE = re.compile(r"python3? -m ((?:tests|daemon)\b[\w.]*)")
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
KEY = re.compile(rf"(?<![\w./-])({'|'.join(SECTIONS)})\.([a-z_]+)(?![\w(/])")
PROVIDER_KEY = re.compile(r"(?<![\w.])providers[._](?:NAME|_?luna_?)[._]+([a-z_]+)")
VARIABLE = re.compile(r"\bTRACEPOOL_([A-Z]+)__(?:[A-Z]+__)?([A-Z_]+)\b")
FILES_NAMED_LIKE_KEYS = {"py", "sock", "sqlite"}
COMMAND = re.compile(r"(?:\$ )?(?:\S*/)?tracepool +([a-z-].*)")
APP = build_app()


def code_of(text: str) -> Iterator[str]:
    """The code in backticks of sentences, and each line of code blocks."""
    for block in re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(
        r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    )


def missing_files(text: str, folder: Path) -> Iterator[str]:
    anchors = {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in re.findall("^#+ (.+)", text, re.M)}
    for path, anchor in LINK.findall(text):
        if not (folder / path).exists() or (anchor and not path and anchor not in anchors):
            yield f"link {path}#{anchor}" if anchor else f"link {path}"
    for code in code_of(text):
        if FILE.fullmatch(code) and code.rstrip("/") not in ENDINGS:
            yield code
    yield from (path for path in IN_TREE.findall(text) if path.rstrip(".") not in PATHS)
    yield from (name for name in MODULE.findall(text) if find_spec(name) is None)


def missing_settings(text: str) -> Iterator[str]:
    for section, key in KEY.findall(text):
        if key not in SECTIONS[section] | FILES_NAMED_LIKE_KEYS and (section, key) not in FORMER_KEYS:
            yield f"{section}.{key}"
    yield from (f"providers.NAME.{key}" for key in PROVIDER_KEY.findall(text) if key not in PROVIDER)
    for section, key in VARIABLE.findall(text):
        if key.lower() not in (PROVIDER if section == "PROVIDERS" else SECTIONS.get(section.lower(), ())):
            yield f"TRACEPOOL_{section}__{key}"
    for block in re.findall(r"^ *```toml\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        Settings(**tomllib.loads(block))


def is_understood(words: list[str]) -> bool:
    """Whether all commands and options in these words of a command line exist."""
    app = APP
    while words and app.default_command is None:
        if words[0] not in app:
            return False
        if words[0].startswith("-"):
            return True
        app = app[words.pop(0)]
    if app.default_command is None:
        return True
    known = {name for argument in app.assemble_argument_collection() for name in argument.names} | {"--help"}
    return {word.split("=")[0] for word in words if word.startswith("--")} <= known


def missing_commands(text: str) -> Iterator[str]:
    """The commands that do not exist. `tracepool nodes list / remove` names two commands of `nodes`."""
    for code in code_of(text):
        found = COMMAND.match(code.strip())
        if found is None:
            continue
        first, *others = found[1].split(" / ")
        words = shlex.split(first, comments=True)
        if not all(is_understood(line) for line in (words, *([*words[:-1], other] for other in others))):
            yield code


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_only_what_there_is(path: Path) -> None:
    text = path.read_text()
    assert [*missing_files(text, path.parent), *missing_settings(text), *missing_commands(text)] == []


@pytest.mark.parametrize(
    "slip",
    [
        "see `pool/nowhere.py`",
        "see `nowhere/`",
        "see daemon/nowhere/states.py",
        "run `python -m tests.nowhere`",
        "[this](nowhere.md)",
        "[this](#nowhere)",
        "`pool.cooldown_m`",
        "# let click.binding be 127.0.0.1",
        "`providers.NAME.pasword`",
        "`TRACEPOOL_POOL__COOLDOWN_M=30`",
        "`tracepool provision generte`",
        "`tracepool nodes list / removed`",
        "```console\n$ tracepool status --jason\n```",
        "```console\n$ /opt/tracepool/bin/tracepool \\\n  offer add\n```",
    ],
)
def test_a_slip_is_seen(slip: str) -> None:
    text = f"# A title\n\nAs `pool.cooldown_s` says.\n\n{slip}\n"
    assert len([*missing_files(text, ROOT), *missing_settings(text), *missing_commands(text)]) == 1


def test_a_block_of_settings_that_would_be_refused_is_seen() -> None:
    with pytest.raises(ValueError, match="cooldown"):
        list(missing_settings("```toml\n[pool]\ncooldown = 3\n```\n"))


MODULE_FILE = re.compile(r"(?<![\w/.*-])(?:[a-z_]+/)*[a-z_0-9]+\.py\b")


@pytest.mark.parametrize("path", sorted((ROOT / "daemon").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_and_comments_name_only_modules_that_exist(path: Path) -> None:
    assert [name for name in MODULE_FILE.findall(path.read_text()) if name not in ENDINGS] == []


def inline(text: str) -> list[str]:
    """Every `tracepool …` of a sentence or a table."""
    return [text for text in re.findall(r"`(tracepool [a-z][^`]*)`", text) if "…" not in text and " / " not in text]


@pytest.mark.parametrize("command", sorted(set(inline(README))))
def test_a_command_in_a_sentence_is_understood(command: str) -> None:
    words = [word for word in shlex.split(command)[1:] if not word.startswith("[")]
    if words[0] != "psql":
        APP.parse_args(words, exit_on_error=False, print_error=False)


def test_the_readmes_table_has_every_setting_with_its_default() -> None:
    settings = Settings(database={"url": ""}).model_dump(mode="json")
    rows = re.findall(r"^\| `(\w+\.\w+)` \| ([^|]+) \|", README, re.M)
    told = {key: tomllib.loads(f"value = {default.strip().strip('`')}")["value"] for key, default in rows}
    sections = {name: values for name, values in settings.items() if isinstance(values, dict)}
    found = {f"{name}.{key}": value for name, values in sections.items() for key, value in values.items()}
    assert told == found | {"database.url": ""}
