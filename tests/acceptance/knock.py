"""Visitors as a process, for containers: `python -m tests.acceptance.knock PORT PATH PER_S`.

Sends requests at an even pace, each on a new connection and with a `gclid` of its own, until standard input ends; then
prints a JSON line for each.
"""

import http.client
import json
import sys
import threading
import time
from dataclasses import asdict, dataclass

PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Knock:
    """One request and its answer. `error` describes the failure if there is no `status`."""

    sent_s: float
    answered_s: float
    status: int | None
    location: str | None
    error: str | None


def knock(port: int, path: str) -> Knock:
    sent_s = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return Knock(sent_s, time.monotonic(), answer.status, answer.headers.get("Location"), None)
    except (OSError, http.client.HTTPException) as e:
        return Knock(sent_s, time.monotonic(), None, None, f"{type(e).__name__}: {e}")
    finally:
        connection.close()


def knock_once(knocks: list[Knock], port: int, path: str) -> None:
    knocks.append(knock(port, path))


def main() -> None:
    port, path, per_s = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    knocks: list[Knock] = []
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_the_end).start()
    visitors: list[threading.Thread] = []
    began_s = time.monotonic()
    while not ended.wait(max(0.0, began_s + len(visitors) / per_s - time.monotonic())):
        visitors.append(threading.Thread(target=knock_once, args=(knocks, port, f"{path}&gclid={len(visitors)}")))
        visitors[-1].start()
    for visitor in visitors:
        visitor.join()
    for one in knocks:
        sys.stdout.write(json.dumps(asdict(one)) + "\n")


if __name__ == "__main__":
    main()
