"""The command `tracepool` as tests run it: in this process on a database of their own, or as a process."""

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

import daemon
from daemon.__main__ import main
from daemon.database.postgres import database_loop
from tests.integration.databases import opened
from tests.support.processes import run_forked

PROJECT = Path(daemon.__file__).parent.parent
PROCESS_S = 40.0


@dataclass(frozen=True, slots=True)
class Outcome:
    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Commands:
    """Calls main() with settings of the environment: `database.url` is `url`, and no daemon runs."""

    def __init__(
        self, url: str, state_dir: Path, monkeypatch: pytest.MonkeyPatch, capture: "pytest.CaptureFixture[str]"
    ) -> None:
        for name in [name for name in os.environ if name.startswith("TRACEPOOL_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("TRACEPOOL_DATABASE__URL", url)
        monkeypatch.setenv("TRACEPOOL_STATE_DIR", str(state_dir))
        self.url = url
        self.state_dir = state_dir
        self._monkeypatch = monkeypatch
        self._capture = capture

    def __call__(self, *arguments: str, stdin: str | bytes = "") -> Outcome:
        content = stdin.encode() if isinstance(stdin, str) else stdin
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        self._capture.readouterr()
        status = main(arguments)
        said = self._capture.readouterr()
        return Outcome(status, said.out, said.err)

    def sql(self, statement: str) -> list[dict[str, Any]]:
        """An operator's own statement."""

        async def run() -> list[dict[str, Any]]:
            async with database_loop(), opened(self.url) as rows:
                return await rows.sql(statement)

        return trio.run(run)


def process(*arguments: str, state_dir: Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    """`python -m daemon` with the embedded server of the state directory."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRACEPOOL_")}
    environment |= {"TRACEPOOL_STATE_DIR": str(state_dir), **options.pop("env", {})}
    if not options:
        return run_forked(arguments, environment)
    return subprocess.run(
        [sys.executable, "-m", "daemon", *arguments],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        **options,
    )
