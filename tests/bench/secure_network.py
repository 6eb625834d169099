"""The ad network with proxies, and its origin behind TLS at port 443 of HOST.

    python -m tests.bench.secure_network --authority FILE --proxies … --proxy-port … --log …

A certificate authority is made for each run. Its certificate is written to FILE; https clients have to trust it. The
other options and the line printed at the start are those of `tests.fakes.network`.
"""

import argparse
import json
import signal
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

import trio
import trustme

from tests.fakes.network import fake_network, parse_addresses

HOST = "secure.example"
RELAY_BYTES_MAX = 64 * 1024


async def run(addresses: Sequence[str], proxy_port: int, log: Path, authority: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    signer = trustme.CA()
    signer.issue_cert(HOST).configure_cert(context)
    signer.cert_pem.write_to_path(authority)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=4_096)
    names = {f"{HOST}:443": ("127.0.0.1", int(listener.socket.getsockname()[1]))}
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with (
            fake_network(addresses, proxy_port=proxy_port, log=log, kept_max=0, names=names) as network,
            trio.open_nursery() as nursery,
        ):

            async def serve(stream: trio.SocketStream) -> None:
                await _unwrap(trio.SSLStream(stream, context, server_side=True), network.origin)

            nursery.start_soon(trio.serve_listeners, serve, [listener])
            sys.stdout.write(json.dumps({"proxy_port": proxy_port, "addresses": network.addresses}) + "\n")
            sys.stdout.flush()
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()


async def _unwrap(secure: "trio.SSLStream[trio.SocketStream]", origin: tuple[str, int]) -> None:
    """Relay one TLS connection to the origin, without TLS, until either side closes."""
    try:
        await secure.do_handshake()
        plain = await trio.open_tcp_stream(*origin)
        async with plain, trio.open_nursery() as nursery:

            async def copy(source: trio.abc.ReceiveStream, target: trio.abc.SendStream) -> None:
                while data := await source.receive_some(RELAY_BYTES_MAX):
                    await target.send_all(data)
                nursery.cancel_scope.cancel()

            nursery.start_soon(copy, secure, plain)
            nursery.start_soon(copy, plain, secure)
    except* (trio.BrokenResourceError, OSError):
        pass  # a client that closes without TLS's close_notify, as the daemon does
    finally:
        secure.transport_stream.socket.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.secure_network", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--authority", type=Path, required=True)
    parser.add_argument("--proxies", required=True)
    parser.add_argument("--proxy-port", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args()
    trio.run(run, parse_addresses(options.proxies), options.proxy_port, options.log, options.authority)


if __name__ == "__main__":
    main()
