"""Fallbacks without a trace per second, compared with two common web servers that answer a fixed redirect.

wrk keeps its connections open and sends the next request after each answer. The references look up no offer and record
no hit: a Quart-Trio app on Hypercorn, and a plain ASGI app on uvicorn with httptools. Each service is one process. They
are measured alternately. `--peer` adds another service, see tests/bench/cpu.py.
"""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec

from tests.bench.figures import Figure
from tests.bench.scene import BenchmarkBroke, Scene, add_offer

CONNECTIONS = 50
ADOPTED_S = 3.0  # until the peer has loaded its offer
TARGET_URL = "http://landing.example/?gclid=g1"

QUART_APP = """
import os, trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart_trio import QuartTrio

app = QuartTrio("peer")

@app.get("/track-hit")
async def click():
    return "", 302, {{"Location": "{target}"}}

config = Config()
config.bind = ["127.0.0.1:" + os.environ["PEER_PORT"]]
config.errorlog = None
trio.run(serve, app, config)
"""

UVICORN_APP = """
import os, uvicorn

HEADERS = [(b"location", b"{target}"), (b"content-length", b"0")]

async def app(scope, receive, send):
    await send({{"type": "http.response.start", "status": 302, "headers": HEADERS}})
    await send({{"type": "http.response.body", "body": b""}})

port = int(os.environ["PEER_PORT"])
uvicorn.run(app, port=port, http="httptools", lifespan="off", access_log=False, log_level="error")
"""


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    if shutil.which("wrk") is None:
        raise BenchmarkBroke("wrk is not installed: apt-get install wrk")
    if find_spec("uvicorn") is None:
        raise BenchmarkBroke("uvicorn is not installed: pip install uvicorn")
    turns, turn_s = (1, 3) if quick else (4, 5)
    url = scene.database()
    add_offer(
        url, "empty", "http://track.example/a", country="zz"
    )  # no IP in that country, so the fallback comes at once
    with ExitStack() as running:
        daemon = running.enter_context(scene.daemon(url))
        urls = {"daemon": daemon.click_url("empty") + "&gclid=g1"}
        for name, app in (("quart", QUART_APP), ("uvicorn", UVICORN_APP)):
            service = running.enter_context(scene.service((sys.executable, "-c", app.format(target=TARGET_URL)), {}))
            urls[name] = service.click_url("empty")
        if scene.peer_command:
            peer_url = scene.database(migrated=False)
            peer = running.enter_context(scene.peer({"PEER_DSN": peer_url, "PEER_COOLDOWN_S": "60"}))
            add_offer(peer_url, "empty", "http://track.example/a", country="zz")
            urls["peer"] = peer.click_url("empty") + "&gclid=g1"
            time.sleep(ADOPTED_S)
        rates: dict[str, list[float]] = {name: [] for name in urls}
        for turn in range(1, turns + 1):
            for name, asked in urls.items():
                say(f"turn {turn} of {turns}: {name}, {CONNECTIONS} connections for {turn_s} s")
                rates[name].append(redirects_per_s(asked, turn_s))
    means = {name: sum(found) / turns for name, found in rates.items()}
    beside = f"Quart-Trio on Hypercorn; a bare uvicorn app with httptools: {means['uvicorn']:,.0f} /s"
    return [
        Figure(
            "redirects without a trace",
            means["daemon"],
            "/s",
            at_least=True,
            reference=means["quart"],
            beside=beside + (f"; the peer: {means['peer']:,.0f} /s" if "peer" in means else ""),
            note=f"turns from {min(rates['daemon']):,.0f} to {max(rates['daemon']):,.0f} /s; {CONNECTIONS} connections",
        )
    ]


def redirects_per_s(url: str, length_s: int, connections: int = CONNECTIONS) -> float:
    """Wrk's own count. Raises BenchmarkBroke if a response was no redirect or a connection failed."""
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{length_s}s", "--timeout", "10s", url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if re.search("Non-2xx|Socket errors", said):
        raise BenchmarkBroke(f"not every request to {url} was redirected:\n{said}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if found is None:
        raise BenchmarkBroke(f"wrk printed no rate:\n{said}")
    return float(found[1])
