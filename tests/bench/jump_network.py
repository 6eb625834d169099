"""The ad network with proxies, and an origin of jump pages at port 80 of HOST.

    python -m tests.bench.jump_network --proxies … --proxy-port … --log …

/hostile answers with the next page of tests/support/hostile_pages.py, any other path with a page without scripts. The
options and the line printed at the start are those of `tests.fakes.network`.
"""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import trio

from daemon.demo.wire import Connection, Request, answer
from tests.fakes.network import fake_network, parse_addresses
from tests.support.hostile_pages import hostile_pages

HOST = "jump.example"
HOSTILE_URL = f"http://{HOST}/hostile"
HARMLESS_URL = f"http://{HOST}/harmless"
PAGES = 1_000
_PLAIN = "<!doctype html><title>A page</title><p>It has no script."


async def run(addresses: Sequence[str], proxy_port: int, log: Path) -> None:
    pages = cycle([page.html for _, page in hostile_pages(PAGES)])
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=4_096)
    names = {HOST: ("127.0.0.1", int(listener.socket.getsockname()[1]))}

    async def serve(stream: trio.SocketStream) -> None:
        connection = Connection(stream)

        async def answer_one(request: Request) -> bool:
            html = next(pages) if request.target.startswith("/hostile") else _PLAIN
            body = html.encode("utf-8", "replace")
            await connection.send(answer(200, body, kind="text/html; charset=utf-8"))
            return True

        await connection.serve(answer_one)

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with (
            fake_network(addresses, proxy_port=proxy_port, log=log, kept_max=0, names=names) as network,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            sys.stdout.write(json.dumps({"proxy_port": proxy_port, "addresses": network.addresses}) + "\n")
            sys.stdout.flush()
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.jump_network", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--proxies", required=True)
    parser.add_argument("--proxy-port", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args()
    trio.run(run, parse_addresses(options.proxies), options.proxy_port, options.log)


if __name__ == "__main__":
    main()
