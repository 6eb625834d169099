"""The dashboard's scripts: each function of another script that a script calls is imported, and each import is used."""

import re
from pathlib import Path

import pytest

SCRIPTS = {
    file.name: re.sub(r"/\*.*?\*/|(?<!:)//.*", "", file.read_text())
    for file in (Path(__file__).parents[2] / "daemon/control/dashboard/static/js").glob("*.js")
}
EXPORTED = {
    name
    for text in SCRIPTS.values()
    for name in re.findall(r"^export (?:async )?(?:const|let|function|class) (\w+)", text, re.MULTILINE)
}
OWN = r"(?:const|let|function|class|async|get) {0}\b|^  {0}\(|[\[({{,]\s*{0}\s*[,)}}\]=]"
"""A declaration, a method, a parameter or a destructured value with this name."""


def imports_of(text: str) -> set[str]:
    return {name for names in re.findall(r"import \{([^}]*)\}", text) for name in re.findall(r"\w+|\$", names)}


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_a_script_imports_what_it_calls_and_uses_what_it_imports(script: str) -> None:
    text = SCRIPTS[script]
    imported, body = imports_of(text), re.sub(r"^import .*", "", text, flags=re.MULTILINE)
    called = set(re.findall(r"(?<![\w.$])(\w+)\(", body)) & EXPORTED
    missing = {name for name in called - imported if not re.search(OWN.format(name), body, re.MULTILINE)}
    assert missing == set()
    assert {name for name in imported if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", body)} == set()
