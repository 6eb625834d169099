"""Constructors take all dependencies of a component."""

import ast
from pathlib import Path

import pytest

DAEMON = Path(__file__).parents[2] / "daemon"


@pytest.mark.parametrize("builder", ["runtime.py", "supervisor.py", "tracer_role.py"])
def test_what_builds_the_parts_sets_no_attribute_of_a_part(builder: str) -> None:
    tree = ast.parse((DAEMON / builder).read_text())
    set_outside = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) != "self"
    ]
    assert set_outside == []
