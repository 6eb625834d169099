"""Fault injection: break tracepool on purpose, then check that no click was lost and no IP was used twice.

- `records.py`: the recorded history of a run; `checker.py` finds breaches of promises in it.
- `visitors.py`: sends clicks and records each answer.
- `scene.py`, `pairs.py`: the processes under test; `faulty.py`: a daemon with a fault built in.
- `crashes.py`, `outages.py`, `disks.py`, `signals.py`: faults of the daemon, PostgreSQL and the disk.
- `schemas.py`, `announcements.py`, `links.py`, `pages.py`, `restored.py`, `nodes.py`: faults of their surroundings.
- `visible.py`: the messages that the daemon must show during a fault.
- `run.py`: runs a fault; `evidence.py`: gathers the history afterwards.
"""
