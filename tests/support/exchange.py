"""One GET on a new connection, by sockets: an HTTP client would refuse or repeat some requests and answers."""

import trio

HEAD_BYTES_MAX = 64 * 1024


async def exchange(port: int, target: str) -> tuple[int, dict[str, str]] | None:
    """Return status and headers of one GET; None if the connection ended without a whole head. Raises OSError."""
    with trio.socket.socket() as client:
        await client.connect(("127.0.0.1", port))
        request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()
        try:
            await client.send(request)
            head = b""
            while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES_MAX:
                piece = await client.recv(HEAD_BYTES_MAX)
                if not piece:
                    return None
                head += piece
        except OSError:
            return None
    status_line, *lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(status_line.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}


async def page(port: int, target: str) -> tuple[int, str] | None:
    """Return status and body of one GET; None if the daemon does not answer."""
    try:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
            await stream.send_all(request.encode())
            answer = b"".join([piece async for piece in stream])
    except (OSError, trio.BrokenResourceError):
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return (int(words[1]), body.decode()) if len(words) == 3 else None
