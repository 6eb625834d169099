"""`tracepool install-units` into a directory; systemd-analyze on the installed and the shipped units."""

import os
import re
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.__main__ import main
from daemon.host import unit_files
from tests.integration.commands import PROJECT, Outcome
from tests.support.needs import need

EXPOSURE_MAX = "15"  # in tenths
NEXT = [
    "    systemctl daemon-reload",
    "    systemctl enable --now tracepool.socket tracepool.service",
    "    systemctl status tracepool",
]
Install = Callable[..., Outcome]


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "units"


@pytest.fixture
def install(
    tmp_path: Path, prefix: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Install:
    """The command. If this environment has no `tracepool`, the command finds a stand-in."""
    stand_in = tmp_path / "bin" / "tracepool"
    stand_in.parent.mkdir()
    stand_in.write_text("#!/bin/sh\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")

    def run(*options: str) -> Outcome:
        capsys.readouterr()
        status = main(["install-units", "--prefix", str(prefix), *options])
        said = capsys.readouterr()
        return Outcome(status, said.out, said.err)

    return run


def texts(prefix: Path) -> dict[str, str]:
    return {str(path.relative_to(prefix)): path.read_text() for path in prefix.rglob("*") if path.is_file()}


def test_it_writes_the_units_readable_by_all_and_says_what_comes_next(install: Install, prefix: Path) -> None:
    done = install()
    assert done.status == 0
    assert {name for name in texts(prefix) if "/" not in name} == set(unit_files.UNITS)
    assert done.lines[-4:] == ["Next:", *NEXT]
    for name in unit_files.UNITS:
        assert f"written {prefix / name}" in done.lines
        assert stat.S_IMODE((prefix / name).stat().st_mode) == 0o644
    start = re.search(
        r"^ExecStart=/bin/sh .* (\S+/bin/tracepool) serve$", texts(prefix)["tracepool.service"], re.MULTILINE
    )
    assert start is not None
    assert os.access(start[1], os.X_OK)


def test_a_second_time_nothing_is_changed(install: Install, prefix: Path) -> None:
    install()
    before = {path: path.stat().st_mtime_ns for path in prefix.iterdir() if path.is_file()}
    again = install()
    assert again.status == 0
    assert f"unchanged {prefix / 'tracepool.service'}" in again.lines
    assert {path: path.stat().st_mtime_ns for path in prefix.iterdir() if path.is_file()} == before


def test_a_file_that_differs_stays_is_shown_and_keeps_all_others_from_being_written(
    install: Install, prefix: Path
) -> None:
    prefix.mkdir()
    (prefix / "tracepool.socket").write_text("[Socket]\nListenStream=9000\n")
    refused = install()
    assert refused.status == 1
    assert texts(prefix) == {"tracepool.socket": "[Socket]\nListenStream=9000\n"}
    assert "\n-ListenStream=9000\n" in refused.err
    assert "\n+ListenStream=0.0.0.0:8080\n" in refused.err
    assert "tracepool.socket would be changed" in refused.err
    assert "--force" in refused.err
    assert refused.out == ""

    forced = install("--force")
    assert forced.status == 0
    assert f"overwritten {prefix / 'tracepool.socket'}" in forced.lines
    assert "ListenStream=0.0.0.0:8080" in texts(prefix)["tracepool.socket"]


def test_a_directory_that_cannot_be_written_to_is_wrong_usage(install: Install, prefix: Path) -> None:
    prefix.write_text("a file")
    refused = install()
    assert refused.status == 2
    assert str(prefix) in refused.err
    assert "Traceback" not in refused.err


def test_the_settings_that_it_is_given_stand_in_the_units(install: Install, prefix: Path, tmp_path: Path) -> None:
    assert install("--config", str(tmp_path / "live.toml")).status == 0
    assert f"serve --config {tmp_path}/live.toml\n" in texts(prefix)["tracepool.service"]
    assert f"serve --config {tmp_path}/%i/live.toml\n" in texts(prefix)["tracepool@.service"]


def analyzed(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = need("systemd", "systemd-analyze")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_systemd_finds_nothing_to_say_of_the_units(install: Install, prefix: Path) -> None:
    install()
    for directory in (PROJECT / "systemd", prefix):
        verified = analyzed("verify", "--man=no", *(str(directory / name) for name in unit_files.UNITS))
        assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


@pytest.mark.parametrize("name", [name for name in unit_files.UNITS if name.endswith(".service")])
def test_a_services_exposure_is_small(name: str, install: Install, prefix: Path) -> None:
    install()
    for directory in (PROJECT / "systemd", prefix):
        verdict = analyzed("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", str(directory / name))
        assert verdict.returncode == 0, verdict.stdout
        assert "Overall exposure level" in verdict.stdout
