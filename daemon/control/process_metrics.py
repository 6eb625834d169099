"""The metrics of all processes of a daemon on one page. Each process answers some of the scrapes of one address.

The process that answers asks the others by their control sockets. Each series has the label `node`, except those of
the whole cluster, which each process knows. A process that does not answer in time is absent from the page.
"""

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import trio
from prometheus_client.metrics_core import Metric

from daemon.control.socket import ask_process
from daemon.errors import TheirFault
from daemon.host.child import is_child
from daemon.host.state_dir import directories_of, root_of
from daemon.settings.model import Settings

ASK_S = 2.0
OF_ALL = ("tracepool_cluster_", "tracepool_advice_")
COMMAND = "metrics"


def as_answer(metrics: Iterable[Metric], node: str) -> dict[str, Any]:
    """The series of this process, as JSON for another process."""
    return {
        "metrics": [
            [metric.name, metric.documentation, metric.type, [list(sample[:3]) for sample in metric.samples]]
            for metric in _labelled(metrics, node)
            if not metric.name.startswith(OF_ALL)
        ]
    }


async def of_all_processes(metrics: Iterable[Metric], settings: Settings) -> list[Metric]:
    """These metrics, of this process, with those of the other processes; unchanged if there are none."""
    if not is_child(os.environ):
        return list(metrics)
    found = {metric.name: metric for metric in _labelled(metrics, settings.node.shown_name())}
    answers: list[dict[str, Any]] = []

    async def ask(directory: Path) -> None:
        try:
            answer = await trio.to_thread.run_sync(partial(ask_process, directory, COMMAND, ASK_S))
        except TheirFault:
            return
        answers.append(answer or {})

    async with trio.open_nursery() as nursery:
        for directory in directories_of(root_of(settings.state_dir)):
            if directory != settings.state_dir:
                nursery.start_soon(ask, directory)
    for answer in answers:
        for name, documentation, kind, samples in answer.get("metrics", ()):
            metric = found.setdefault(name, Metric(name, documentation, kind))
            for sample in samples:
                metric.add_sample(*sample)
    return list(found.values())


def _labelled(metrics: Iterable[Metric], node: str) -> Iterable[Metric]:
    for metric in metrics:
        if not metric.name.startswith(OF_ALL):
            metric.samples = [sample._replace(labels={"node": node, **sample.labels}) for sample in metric.samples]
        yield metric
