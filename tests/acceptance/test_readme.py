"""Runs each command and each SQL statement in the README."""

import functools
import html
import re
import shlex
import subprocess
from pathlib import Path

import trio

from tests.fakes.wire import free_port
from tests.support.needs import need
from tests.support.processes import REPOSITORY, control_request, environment, offer, run_command, serving
from tests.support.waiting import PATIENCE_S, until

README = (REPOSITORY / "README.md").read_text()
# Other tests run these commands: test_demo, test_serve, test_install_units and test_systemd.
ELSEWHERE = {"demo", "serve", "install-units"}
CONSOLE = re.findall(r"```console\n(.*?)```", README, re.S)


def commands() -> list[str]:
    """Every `tracepool …` command of a console block; a backslash at its end continues a line."""
    lines = "\n".join(CONSOLE).replace("\\\n", " ").splitlines()
    found = [line.removeprefix("$ ").split(" # ")[0].strip() for line in map(str.strip, lines) if line.startswith("$ ")]
    return [line.rstrip().removesuffix("#") for line in found if line.startswith("tracepool ")]


def test_there_are_commands_to_run() -> None:
    assert len(commands()) >= 12


async def test_every_command_of_a_console_block_runs(state_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "proxies.txt").write_text("192.0.2.7:3128\n")
    (state_dir / "settings.toml").touch()
    env = {
        "TRACEPOOL_CONFIG": str(state_dir / "settings.toml"),
        "TRACEPOOL_PROVISION__CHECK_URL": "http://ads.example/",
    }
    async with serving(state_dir, {"provision": {"check_url": "http://ads.example/", "check_timeout_s": 1}}) as daemon:
        for command in commands():
            words = shlex.split(command)[1:]
            if words[0] in ELSEWHERE:
                continue
            if words[:2] == ["provision", "check"]:
                words += ["--ip", "192.0.2.7"]  # one IP is enough
            words = [str(tmp_path / word) if word == "proxies.txt" else word for word in words]
            done = await run_command(*words, **env)
            # None of these IPs works, and there was no click whose history could be shown.
            expected = int(words[0] == "trace" or words[:2] in (["provision", "check"], ["plan", "--from-history"]))
            assert done.returncode == expected, (command, done.stdout, done.stderr)
        for block in re.findall(r"```sql\n(.*?)```", README, re.S):
            for statement in filter(None, (part.strip() for part in block.split(";"))):
                await daemon.psql(statement)
        assert await daemon.stop() == 0


def curl_commands() -> list[str]:
    """Every curl command in the README, in /docs and in the commands' help."""
    docs = html.unescape((REPOSITORY / "daemon/control/docs/docs.html").read_text())
    blocks = [*CONSOLE, *re.findall(r"<pre>(.*?)</pre>", docs, re.S)]
    found = [
        command for block in blocks for command in re.findall(r"^\s*\$ (curl .*?)(?=^\s*\$ |\Z)", block, re.S | re.M)
    ]
    found = [re.split(r"\nHTTP/", command)[0].strip() for command in found]
    for file in sorted((REPOSITORY / "daemon/cli").glob("*.py")):
        found += re.findall(r"^ +(curl .*http.*)$", file.read_text(), re.M)
    return found


async def test_every_curl_command_works_as_it_is_written(state_dir: Path) -> None:
    need("curl")
    commands = curl_commands()
    assert len(commands) >= 7
    port = free_port()
    rows = ", ".join(f"('127.0.0.{number}', '{port}', 'us')" for number in range(1, 11))
    async with serving(state_dir) as daemon:
        await daemon.psql(f"INSERT INTO ip_rotation_pool (ip_address, ip_port, country) VALUES {rows}")
        await offer(daemon, "summer-sale", "https://track.ads.example/c?id=42")
        await until(lambda: daemon.counts("us")["total"] == 10, "the IPs are adopted")

        async def answered(command: str, **env: str) -> None:
            ours = command.replace("127.0.0.1:8080", daemon.url.removeprefix("http://"))
            ours = ours.replace("127.0.0.1:8081", daemon.control_url.removeprefix("http://"))
            run = functools.partial(
                subprocess.run, ["sh", "-c", f"{ours} -w '\n%{{http_code}}'"], capture_output=True, text=True,
                timeout=PATIENCE_S, env=environment(**env), check=False,
            )  # fmt: skip
            done = await trio.to_thread.run_sync(run)
            assert done.stdout.splitlines()[-1:] in (["200"], ["302"]), (ours, done.stdout, done.stderr)

        for command in commands:
            if "$TOKEN" not in command:
                await answered(command)
        config = str(state_dir / "settings.toml")
        made = await run_command("token", "create", "ops", "--role", "operator", "--config", config)
        token = made.stdout.split()[-1]
        await until(lambda: control_request(daemon, token=token).status_code == 200, "the token is adopted")
        for command in commands:
            if "$TOKEN" in command:
                await answered(command, TOKEN=token)
        assert await daemon.stop() == 0
