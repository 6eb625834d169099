"""Breaking tracepool on purpose, and checking afterwards that nothing was lost or used twice.

`records.py` is what is known of a history, `checker.py` judges it. `visitors.py` clicks and keeps each answer. The
processes that are broken are in `scene.py`, `servers.py` and `pairs.py`; `faulty.py` is a daemon with a fault built in.
`crashes.py`, `outages.py`, `disks.py` and `signals.py` break them. `schemas.py`, `announcements.py`, `links.py`,
`pages.py`, `restored.py` and `nodes.py` break what is around them; `telling.py` has what the daemon must say of it.
`run.py` runs a fault, `evidence.py` gathers what came of it.
"""
