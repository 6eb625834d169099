"""Checks that the daemon reports troubles in its log, in `status` and at /readyz, and reports their end."""

from collections.abc import Callable
from typing import Any

import trio

from daemon.control import socket as control
from daemon.errors import TracepoolError
from tests.faults.evidence import rows_came
from tests.faults.scene import Scene
from tests.faults.stage import Stage
from tests.support.exchange import page

SAID_WITHIN_S = 10.0
WELL_WITHIN_S = 20.0
LOOK_EVERY_S = 0.2


def status_of(scene: Scene) -> dict[str, Any]:
    """The daemon's status; empty if the daemon does not answer."""
    try:
        return control.ask(scene.state_dir, "status") or {}
    except TracepoolError:
        return {}


async def comes(scene: Scene, holds: Callable[[], Any], patience_s: float) -> bool:
    """Whether `holds`, called in a thread, becomes true within `patience_s`. Raises SceneBroke if the daemon ends."""
    with trio.move_on_after(patience_s):
        while True:
            scene.assert_alive()
            if await trio.to_thread.run_sync(holds):
                return True
            await trio.sleep(LOOK_EVERY_S)
    return False


def sentences(scene: Scene) -> list[str]:
    """The sentences of the troubles in `status`."""
    return [trouble["sentence"] for trouble in status_of(scene).get("troubles", [])]


async def said(stage: Stage, words: str, event: str = "statement_refused", patience_s: float = SAID_WITHIN_S) -> None:
    """Expect a trouble with these words and a remedy in `status` and at /readyz, and the event in the log."""
    scene = stage.scene

    def found() -> list[dict[str, Any]]:
        return [t for t in status_of(scene).get("troubles", []) if words.lower() in t["sentence"].lower()]

    if not await comes(scene, found, patience_s):
        stage.expect(False, "not said", f"`status` has no trouble with {words!r}; it has {sentences(scene)}")
        return
    for trouble in await trio.to_thread.run_sync(found):
        stage.expect(bool(trouble["remedy"]), "not said", f"no remedy: {trouble}")
        await _shown(stage, words, trouble["remedy"])
    lines = [line for line in scene.log(event) if words.lower() in str(line).lower()]
    stage.expect(bool(lines), "not said", f"the log has no {event!r} with {words!r}")
    for line in lines:
        stage.expect(bool(line.get("remedy")), "not said", f"{event} without a remedy: {line}")


async def _shown(stage: Stage, words: str, remedy: str) -> None:
    """Expect that /readyz still answers 200 and has a line with these words and this remedy.

    Not the sentence of a moment ago: meanwhile another statement may be the one that is refused.
    """
    answer = await page(stage.scene.visitors.port, "/readyz")
    status, body = answer or (0, "")
    stage.expect(status == 200 and body.startswith("ready"), "not ready", f"/readyz says {status}: {body}")
    shown = any(words.lower() in line.lower() and remedy in line for line in body.splitlines())
    stage.expect(shown or not sentences(stage.scene), "not said", f"/readyz lacks {words!r} with {remedy!r}: {body}")


async def well_again(stage: Stage) -> float:
    """Wait for all hits, but those that PostgreSQL lost, and for the end of all troubles. Returns the wait for hits."""
    rows_s, breaches = await rows_came(stage.scene, stage.memory.get("forgotten", ()))
    stage.measured("rows there", rows_s)
    stage.breaches += breaches
    well = await comes(stage.scene, lambda: status_of(stage.scene).get("troubles") == [], WELL_WITHIN_S)
    stage.expect(well, "not well", f"put right, and `status` still has {sentences(stage.scene)}")
    return rows_s
