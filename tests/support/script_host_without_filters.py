"""The engine of script_host.py on a machine for which there is no filter of system calls."""

from daemon.trace.engine import child, sandbox
from tests.support.script_host import context


def main() -> None:
    sandbox.MACHINES.clear()
    child.main(context)
