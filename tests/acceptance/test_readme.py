"""The README: each of its commands is run, each of its SQL statements too, and what it names is there."""

import functools
import html
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import trio

from daemon.cli.app import build_app
from daemon.config import Settings
from tests.fakes.wire import free_port
from tests.support.needs import need
from tests.support.processes import REPOSITORY, asked, environment, offer, run_command, serving
from tests.support.waiting import PATIENCE_S, until

README = (REPOSITORY / "README.md").read_text()
# Run elsewhere: the first page's by test_demo, the service by test_serve, units by test_install_units and test_systemd.
ELSEWHERE = {"demo", "serve", "install-units"}
CONSOLE = re.findall(r"```console\n(.*?)```", README, re.S)


def commands() -> list[str]:
    """Every `tracepool …` of a console block, a line continued by a backslash as one."""
    lines = "\n".join(CONSOLE).replace("\\\n", " ").splitlines()
    found = [line.removeprefix("$ ").split(" # ")[0].strip() for line in map(str.strip, lines) if line.startswith("$ ")]
    return [line.rstrip().removesuffix("#") for line in found if line.startswith("tracepool ")]


def inline() -> list[str]:
    """Every `tracepool …` in a sentence or a table."""
    return [text for text in re.findall(r"`(tracepool [a-z][^`]*)`", README) if "…" not in text and " / " not in text]


def test_there_are_commands_to_run() -> None:
    assert len(commands()) >= 12
    assert len(inline()) >= 20


@pytest.mark.parametrize("command", sorted(set(inline())))
def test_a_command_in_a_sentence_is_understood(command: str) -> None:
    words = [word for word in shlex.split(command)[1:] if not word.startswith("[")]
    if words[0] != "psql":
        build_app().parse_args(words, exit_on_error=False, print_error=False)


async def test_every_command_of_a_console_block_runs(state_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "proxies.csv").write_text("ip_address,country\n192.0.2.7,us\n")
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
                words += ["--ip", "192.0.2.7"]  # one of them tells as much as sixty
            words = [str(tmp_path / word) if word == "proxies.csv" else word for word in words]
            done = await run_command(*words, **env)
            # No IP of these works, and no click has come that would be history.
            expected = int(words[0] == "trace" or words[:2] in (["provision", "check"], ["plan", "--from-history"]))
            assert done.returncode == expected, (command, done.stdout, done.stderr)
        for block in re.findall(r"```sql\n(.*?)```", README, re.S):
            for statement in filter(None, (part.strip() for part in block.split(";"))):
                await daemon.psql(statement)
        assert await daemon.stop() == 0


def curl_commands() -> list[str]:
    """Every curl command that the README, /docs and the commands' help show."""
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
        await until(lambda: asked(daemon, token=token).status_code == 200, "the token is adopted")
        for command in commands:
            if "$TOKEN" in command:
                await answered(command, TOKEN=token)
        assert await daemon.stop() == 0


def test_what_it_links_to_is_there() -> None:
    headings = {
        re.sub(r"[^a-z -]", "", line.lower()).replace(" ", "-") for line in re.findall("^#+ (.+)", README, re.M)
    }
    for link in re.findall(r"\]\(((?!http)[^)]+)\)", README):
        assert link.removeprefix("#") in headings if link.startswith("#") else (REPOSITORY / link).exists(), link


def test_its_table_has_every_setting_with_its_default() -> None:
    settings = Settings(database={"url": ""}).model_dump(mode="json")
    rows = re.findall(r"^\| `(\w+\.\w+)` \| ([^|]+) \|", README, re.M)
    told = {key: tomllib.loads(f"value = {default.strip().strip('`')}")["value"] for key, default in rows}
    sections = {name: values for name, values in settings.items() if isinstance(values, dict)}
    found = {f"{name}.{key}": value for name, values in sections.items() for key, value in values.items()}
    assert told == found | {"database.url": ""}
