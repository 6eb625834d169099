"""The installed systemd units differ from the shipped ones only in the paths of the installation."""

import difflib
import tomllib
from pathlib import Path

import pytest

from daemon.errors import BadInput
from daemon.host import unit_files
from daemon.host.unit_files import RELOAD, RELOAD_SYSTEMD, SHELL, UNITS, Installation, outermost, shipped, units

ROOT = Path(__file__).parents[2]
PLAIN = Installation(Path("/opt/tracepool/bin/tracepool"), (Path("/opt/tracepool"), Path("/usr")))
SERVICE, INSTANCES = "tracepool.service", "tracepool@.service"


def changed(installation: Installation, name: str = SERVICE) -> tuple[list[str], list[str]]:
    """The removed and the added lines."""
    after = units(installation, None)[name]
    lines = list(difflib.ndiff(shipped(name).splitlines(), after.splitlines()))
    return [line[2:] for line in lines if line[0] == "-"], [line[2:] for line in lines if line[0] == "+"]


def test_a_usual_installation_changes_nothing_but_where_its_command_is() -> None:
    gone, come = changed(PLAIN)
    assert gone == [unit_files.SEARCHED.strip(), unit_files.START]
    assert come == [f"{SHELL}/opt/tracepool/bin/tracepool serve"]
    gone, come = changed(PLAIN, INSTANCES)
    assert come == [f"{SHELL}/opt/tracepool/bin/tracepool serve --config /etc/tracepool/%i/tracepool.toml"]
    for name in UNITS:
        if name.endswith(".socket"):
            assert changed(PLAIN, name) == ([], [])


def test_the_settings_may_be_elsewhere() -> None:
    elsewhere = Installation(PLAIN.command, PLAIN.needs, Path("/srv/pool/live.toml"))
    assert changed(elsewhere)[1] == [f"{SHELL}/opt/tracepool/bin/tracepool serve --config /srv/pool/live.toml"]
    [line] = changed(elsewhere, INSTANCES)[1]
    assert line == f"{SHELL}/opt/tracepool/bin/tracepool serve --config /srv/pool/%i/live.toml"


def test_what_lies_in_a_home_or_in_tmp_is_bound_into_the_sandbox() -> None:
    venv = Path("/home/op/pool")
    at_home = Installation(venv / "bin/tracepool", (Path("/root/.pythons/3.11"), venv, venv / "lib", Path("/usr")))
    gone, come = changed(at_home)
    assert "ProtectHome=yes" in gone
    bound = ["BindReadOnlyPaths=/home/op/pool", "BindReadOnlyPaths=/root/.pythons/3.11"]
    assert come[1:] == ["ProtectHome=tmpfs", "TemporaryFileSystem=/root:ro,mode=0755", *bound]
    gone, come = changed(Installation(Path("/tmp/v/bin/tracepool"), (Path("/tmp/v"),)))
    assert "ProtectHome=yes" not in gone
    assert come[1:] == ["BindReadOnlyPaths=/tmp/v"]


def test_settings_in_a_home_are_bound_as_well() -> None:
    assert "BindReadOnlyPaths=/home/op" in changed(Installation(PLAIN.command, (), Path("/home/op/pool.toml")))[1]


def test_a_newer_systemd_gets_the_drop_in_and_an_older_one_does_not() -> None:
    drop_ins = {f"{SERVICE}.d/{RELOAD}", f"{INSTANCES}.d/{RELOAD}"}
    assert units(PLAIN, RELOAD_SYSTEMD).keys() == {*UNITS, *drop_ins}
    assert units(PLAIN, RELOAD_SYSTEMD - 1).keys() == units(PLAIN, None).keys() == set(UNITS)


def test_a_path_stays_one_word() -> None:
    spaced = Installation(Path("/opt/my pool/50%/bin/tracepool"), ())
    assert changed(spaced)[1] == [SHELL + '"/opt/my pool/50%%/bin/tracepool" serve']


@pytest.mark.parametrize("odd", ["$HOME", 'a"b', "a:b", "a\\b", "a\nb", "a'b"])
def test_a_path_that_a_unit_would_read_otherwise_is_refused(odd: str) -> None:
    with pytest.raises(BadInput, match="a path in a unit cannot have"):
        units(Installation(Path(f"/opt/{odd}/bin/tracepool"), ()), None)


def test_one_directory_inside_another_is_not_named_twice() -> None:
    assert outermost(map(Path, ("/a/b", "/a", "/ab", "/c", "/c"))) == [Path("/a"), Path("/ab"), Path("/c")]


def test_the_instances_differ_from_the_one_in_their_names_alone() -> None:
    def without_names(name: str) -> list[str]:
        text = shipped(name).partition("[Unit]")[2]
        for words in (" %i", "/%i", "-%i", unit_files.INSTANCE_CONFIG.replace("%i/", "").replace("/%i", "")):
            text = text.replace(words, "")
        return text.splitlines()

    one, several = without_names(SERVICE), without_names(INSTANCES)
    assert [line.replace(unit_files.START, "") for line in one] == [
        line.replace(unit_files.START, "") for line in several
    ]


def test_the_wheel_has_the_units_where_they_are_looked_for() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"systemd": "daemon/units"}
    assert {path.name for path in (ROOT / "systemd").iterdir()} == {*UNITS, RELOAD}
