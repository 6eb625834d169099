"""No tier of tests imports from another tier: what several tiers share stands in tests/fakes and tests/support."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TIERS = {path.name for path in TESTS.iterdir() if path.is_dir() and any(path.glob("*.py"))} - {"fakes", "support"}


def strangers(folder: str, source: str) -> set[str]:
    """The modules of other tiers that a file of this folder of tests imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    parted = {name: name.split(".") for name in found}
    return {name for name, parts in parted.items() if parts[0] == "tests" and parts[1] in TIERS - {folder}}


@pytest.mark.parametrize("folder", sorted(TIERS | {"fakes", "support"}))
def test_no_tier_imports_from_another(folder: str) -> None:
    found = {str(path): strangers(folder, path.read_text()) for path in (TESTS / folder).rglob("*.py")}
    assert not {path: names for path, names in found.items() if names}


@pytest.mark.parametrize(
    "line", ["import tests.faults.run", "from tests.faults import run", "from tests.faults.run import FAULTS as known"]
)
def test_an_import_from_another_tier_is_seen(line: str) -> None:
    source = f"import os\nfrom tests.fakes import net\n\ndef late():\n    {line}\n"
    assert len(strangers("unit", source)) == 1
    assert strangers("faults", source) == set()
