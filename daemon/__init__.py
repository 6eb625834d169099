"""tracepool answers ad clicks.

daemon/ARCHITECTURE.md is the map: a click's path, the packages in their order, the decisions. supervisor.py is where to
start reading.
"""

__version__ = "0.1.0"
