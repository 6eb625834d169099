"""TLS by the reverse proxies in config/: their syntax, and a click through each with the visitor's own address."""

import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import trio
import trustme

from tests.fakes.wire import free_port
from tests.support.needs import need
from tests.support.processes import REPOSITORY, Serving, offer, serving
from tests.support.state_dirs import open_state_dir
from tests.support.waiting import PATIENCE_S, until

NAME = "clicks.example"
VISITOR = "127.0.0.9"
LIE = "203.0.113.66"
QUERY = "offer=summer-sale&gclid=a%2Fb+c;d&empty=&odd=%zz&tag=1&tag=2"


class Front:
    """A directory for a proxy's files, a certificate for clicks.example, and the proxy's TLS `port`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.authority = trustme.CA()
        certificate = self.authority.issue_cert(NAME)
        self.certificate, self.key = directory / "fullchain.pem", directory / "privkey.pem"
        certificate.cert_chain_pems[0].write_to_path(self.certificate)
        certificate.private_key_pem.write_to_path(self.key)

    def visitor(self) -> httpx.AsyncClient:
        trusting = ssl.create_default_context()
        self.authority.configure_trust(trusting)
        transport = httpx.AsyncHTTPTransport(local_address=VISITOR, verify=trusting)
        return httpx.AsyncClient(transport=transport, trust_env=False, timeout=PATIENCE_S)

    async def get(self, visitor: httpx.AsyncClient, path: str) -> httpx.Response:
        return await visitor.get(
            f"https://127.0.0.1:{self.port}{path}",
            headers={"Host": NAME, "X-Forwarded-For": LIE},
            extensions={"sni_hostname": NAME},
        )


def port_taken(address: str, port: int) -> bool:
    with socket.socket() as visitor:
        return visitor.connect_ex((address, port)) == 0


def edited(text: str, *changes: tuple[str, str]) -> str:
    """The example with an operator's values in place of the example's, each of which must occur."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


@asynccontextmanager
async def running(command: Sequence[str], directory: Path, port: int) -> AsyncIterator[None]:
    """Run a proxy; yield when its port is open."""
    environment = {"HOME": str(directory), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    with (directory / "proxy.log").open("w") as log:
        process = await trio.lowlevel.open_process(command, stdout=log, stderr=log, env=environment, cwd=directory)
        try:
            await until(lambda: process.poll() is not None or port_taken("127.0.0.1", port), "the proxy listens")
            assert process.poll() is None, (directory / "proxy.log").read_text()
            yield
        finally:
            process.terminate()
            with trio.CancelScope(shield=True):
                await process.wait()


async def check(command: Sequence[str], directory: Path) -> None:
    environment = {"HOME": str(directory), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    done = await trio.run_process(
        command, capture_stdout=True, capture_stderr=True, check=False, env=environment, cwd=directory
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


async def a_click_comes_through(front: Front, daemon: Serving) -> None:
    """Check what the daemon received from a visitor, and what the visitor received."""
    async with front.visitor() as visitor, httpx.AsyncClient(trust_env=False) as beside:
        assert (await front.get(visitor, "/elsewhere")).status_code == 404
        for path in ("/track-hit", "/functions/v1/track-hit", "/Track-Hit/"):
            direct = await beside.get(f"{daemon.url}{path}?{QUERY}")
            through = await front.get(visitor, f"{path}?{QUERY}")
            assert through.status_code == 302
            assert through.headers["Location"] == direct.headers["Location"], "not a byte is changed on the way"
        for path in ("/livez", "/readyz", "/"):
            assert (await front.get(visitor, path)).status_code == 404, f"{path} is not for visitors"
    await until(lambda: len(daemon.log("click")) == 6, "six clicks are in the log")
    assert [line["visitor"] for line in daemon.log("click")] == ["127.0.0.1", VISITOR] * 3


@asynccontextmanager
async def clicked(state_dir: Path) -> AsyncIterator[Serving]:
    async with serving(state_dir, {"click": {"trusted_proxies": ["127.0.0.1"]}}) as daemon:
        await offer(daemon, "summer-sale", "https://ads.example/c?id=7")
        yield daemon
        assert await daemon.stop() == 0


@asynccontextmanager
async def nginx_running(front: Front, plain: int, example: str, *changes: tuple[str, str]) -> AsyncIterator[None]:
    """Run nginx with an example of config/, after its syntax is checked. `plain`: the port for HTTP without TLS."""
    nginx, directory = need("nginx"), front.directory
    site = edited(
        (REPOSITORY / "config" / example).read_text(),
        *changes,
        ("    listen [::]:80;\n", ""),
        ("    listen [::]:443 ssl http2;\n", ""),
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ", f"listen 127.0.0.1:{front.port} "),
        (f"/etc/letsencrypt/live/{NAME}/fullchain.pem", str(front.certificate)),
        (f"/etc/letsencrypt/live/{NAME}/privkey.pem", str(front.key)),
    )
    (directory / "site.conf").write_text(site)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
    around = f"pid {directory}/pid; daemon off; error_log stderr; events {{}}\n"
    inside = f"access_log off; {temporary} include {directory}/site.conf;"
    (directory / "nginx.conf").write_text(f"{around}http {{ {inside} }}\n")
    command = [nginx, "-c", str(directory / "nginx.conf"), "-p", str(directory), "-e", "stderr"]
    await check([*command, "-t"], directory)
    async with running(command, directory, front.port):
        yield


async def test_a_click_through_nginx(state_dir: Path, tmp_path: Path) -> None:
    front = Front(tmp_path)
    plain = free_port()
    async with clicked(state_dir) as daemon:
        server = ("server 127.0.0.1:8080;", f"server 127.0.0.1:{daemon.port};")
        async with nginx_running(front, plain, "nginx.conf", server):
            await a_click_comes_through(front, daemon)
            async with httpx.AsyncClient(trust_env=False) as visitor:
                address = f"http://127.0.0.1:{plain}/track-hit?{QUERY}"
                moved = await visitor.get(address, headers={"Host": NAME})
            assert (moved.status_code, moved.headers["Location"]) == (308, f"https://{NAME}/track-hit?{QUERY}")


async def test_nginx_sends_the_clicks_of_a_node_that_is_gone_to_the_next(state_dir: Path, tmp_path: Path) -> None:
    front = Front(tmp_path)
    with open_state_dir() as other_dir:
        async with serving(state_dir) as first, serving(other_dir) as second, front.visitor() as visitor:
            edits = []
            for daemon, address in ((first, "10.0.0.11:8080"), (second, "10.0.0.12:8080")):
                await offer(daemon, "summer-sale", "https://ads.example/c?id=7")
                edits.append((f"    server {address} ", f"    server 127.0.0.1:{daemon.port} "))

            async def click(times: int) -> None:
                for _ in range(times):
                    assert (await front.get(visitor, f"/track-hit?{QUERY}")).status_code == 302

            async with nginx_running(front, free_port(), "nginx-hosts.conf", *edits):
                await click(4)
                await until(lambda: len(first.log("click")) == len(second.log("click")) == 2, "both take clicks")
                second.process.kill()
                await second.process.wait()
                await click(4)
                await until(lambda: len(first.log("click")) == 6, "the node that is left takes all")


async def test_a_click_through_caddy(state_dir: Path, tmp_path: Path) -> None:
    caddy = need("caddy")
    front = Front(tmp_path)
    example = REPOSITORY / "config" / "Caddyfile"
    await check([caddy, "validate", "--config", str(example), "--adapter", "caddyfile"], tmp_path)
    async with clicked(state_dir) as daemon:
        site = edited(
            example.read_text(),
            (f"\n{NAME} {{\n", f"\n{NAME}:{front.port} {{\n\ttls {front.certificate} {front.key}\n\tbind 127.0.0.1\n"),
            ("reverse_proxy 127.0.0.1:8080", f"reverse_proxy 127.0.0.1:{daemon.port}"),
        )
        (tmp_path / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https off\n}\n" + site)
        async with running([caddy, "run", "--config", str(tmp_path / "Caddyfile")], tmp_path, front.port):
            await a_click_comes_through(front, daemon)
