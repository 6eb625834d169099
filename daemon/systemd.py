"""Tells systemd how the service fares (sd_notify(3)); does nothing where $NOTIFY_SOCKET is not set."""

import os
import socket

import structlog

log = structlog.get_logger("daemon")


def notify(state: str) -> None:
    """`READY=1`, `STOPPING=1` and the like. A manager that does not listen is no reason to stop."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect("\0" + address[1:] if address.startswith("@") else address)
            sender.send(state.encode())
    except OSError as e:
        log.warning("notify_failed", state=state, why=str(e))
