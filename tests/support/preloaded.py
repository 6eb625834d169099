"""Imports all of the daemon, in the process whose forks are tests' daemons and commands (forked.py)."""

import gc
import importlib
import pkgutil

import daemon

for module in pkgutil.walk_packages(daemon.__path__, "daemon."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
gc.collect()
gc.freeze()  # the forks share these objects' memory
