"""Programs that a test needs and a machine may lack: `need("tinyproxy")` skips the test with the package's name.

With TRACEPOOL_TEST_ALL=1, as .ci/run sets it, the test fails instead.
"""

import os
import shutil

import pytest


def program_path(program: str) -> str | None:
    """The path of an installed program, also one in a directory for daemons; None if it is not installed."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def need(package: str, program: str | None = None) -> str:
    """The path of the program, whose name is that of its package unless `program` is given."""
    found = program_path(program or package)
    if found is not None:
        return found
    if os.environ.get("TRACEPOOL_TEST_ALL") == "1":
        pytest.fail(f"{package} is not installed, and TRACEPOOL_TEST_ALL=1 asks for every test", pytrace=False)
    pytest.skip(f"needs the package {package}")
