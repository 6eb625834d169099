"""The socket on which the children report to the parent, by systemd's protocol (sd_notify(3)).

The kernel tells which process has sent a message. Its address is abstract: a path could be too long.
"""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

import trio

MESSAGE_BYTES_MAX = 8_192
CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): process, user, group


class Reports:
    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind("")  # the kernel chooses an abstract address
        self.address = "@" + os.fsdecode(self._socket.getsockname()[1:])

    async def wait(self, at_most_s: float) -> None:
        with trio.move_on_after(at_most_s):
            await trio.lowlevel.wait_readable(self._socket)

    def read(self) -> Iterator[tuple[int, list[str]]]:
        """All messages that have arrived: the sender's process id, and the assignments."""
        with suppress(BlockingIOError):
            while True:
                message, ancillary, _, _ = self._socket.recvmsg(MESSAGE_BYTES_MAX, socket.CMSG_SPACE(CREDENTIALS.size))
                for level, kind, content in ancillary:
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                        yield CREDENTIALS.unpack(content)[0], message.decode("utf-8", "replace").splitlines()

    def close(self) -> None:
        self._socket.close()
