"""What a test needs and a machine may lack: `need("tinyproxy")` skips with the package's name.

TRACEPOOL_TEST_ALL=1, as .ci/run sets it, turns the skip into a failure: there everything is to be tested.
"""

import os
import shutil

import pytest


def program_path(program: str) -> str | None:
    """Of a program that is installed, a daemon's among them; None of one that is not."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def need(package: str, program: str | None = None) -> str:
    """The path of the program, which is called as its package is unless `program` says otherwise."""
    found = program_path(program or package)
    if found is not None:
        return found
    if os.environ.get("TRACEPOOL_TEST_ALL") == "1":
        pytest.fail(f"{package} is not installed, and TRACEPOOL_TEST_ALL=1 asks for every test", pytrace=False)
    pytest.skip(f"needs the package {package}")
