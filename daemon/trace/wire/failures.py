"""The failure that an exception of connection.py means."""

import logging
import ssl

import trio

from daemon.trace.walk.verdicts import Failure, Phase
from daemon.trace.wire.connection import Progress
from daemon.trace.wire.http1 import Garbled
from daemon.trace.wire.stream import Broken, HopError, TooManyBytes

log = logging.getLogger(__name__)


def failure_of(error: Exception, progress: Progress) -> Failure:
    if isinstance(error, HopError):
        return error.failure
    if isinstance(error, TooManyBytes):
        return Failure.HEAD_TOO_LARGE
    if isinstance(error, Garbled):
        return Failure.CLOSED if progress.stream is not None and progress.stream.ended else Failure.GARBAGE
    if isinstance(error, Broken | trio.BrokenResourceError):
        return _failure_of_break(error)
    if isinstance(error, ValueError) and progress.phase in (Phase.DIAL, Phase.TLS):
        return Failure.CERTIFICATE  # the host has a label that no certificate can contain
    log.error("a hop failed with an unexpected exception", exc_info=error)
    return Failure.UNEXPECTED


def _failure_of_break(error: BaseException) -> Failure:
    cause: BaseException | None = error
    for _ in range(8):
        if cause is None:
            break
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Failure.CERTIFICATE
        if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return Failure.CLOSED
        if isinstance(cause, ssl.SSLError):
            return Failure.TLS
        cause = cause.__cause__ or cause.__context__
    return Failure.RESET
