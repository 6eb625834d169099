"""Breaking tracepool on purpose, and checking afterwards that nothing was lost or used twice.

`checker.py` judges a history; `visitors.py` clicks and keeps the record of each answer; `scene.py` has the processes
that are broken; `crashes.py`, `outages.py`, `disks.py` and `signals.py` break them; `__main__.py` runs them.
"""
