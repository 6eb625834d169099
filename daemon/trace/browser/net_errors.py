"""What Chromium's network errors (net/base/net_error_list.h) mean for a hop. Pure."""

from daemon.trace.walk.verdicts import Failure, Phase

ABORTED = "net::ERR_ABORTED"  # another navigation, a download, window.stop()
TOO_MANY_REDIRECTS = "net::ERR_TOO_MANY_REDIRECTS"

_FAILURES = {
    "CONNECTION_CLOSED": Failure.CLOSED,
    "EMPTY_RESPONSE": Failure.CLOSED,
    "INVALID_HTTP_RESPONSE": Failure.NOT_HTTP,
    "HTTP2_PROTOCOL_ERROR": Failure.NOT_HTTP,
    "RESPONSE_HEADERS_TOO_BIG": Failure.HEAD_TOO_LARGE,
    "RESPONSE_HEADERS_MULTIPLE_CONTENT_LENGTH": Failure.GARBAGE,
    "RESPONSE_HEADERS_MULTIPLE_LOCATION": Failure.GARBAGE,
    "CONNECTION_TIMED_OUT": Failure.TIMEOUT,
    "TIMED_OUT": Failure.TIMEOUT,
}


def failure_of_error(text: str) -> tuple[Phase, Failure]:
    """The failure of a document's request. Any other error counts as a broken connection.

    It is never the proxy's: the forwarder knows those failures.
    """
    name = text.removeprefix("net::ERR_")
    if name.startswith("CERT_"):
        return Phase.TLS, Failure.CERTIFICATE
    if name.startswith(("SSL_", "BAD_SSL_")):
        return Phase.TLS, Failure.TLS
    return Phase.BEHIND, _FAILURES.get(name, Failure.RESET)
