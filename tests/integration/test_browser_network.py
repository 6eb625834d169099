"""What the browser sends: nothing but connections to its forwarder, counted by the kernel in a network of its own."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.needs import need
from tests.support.tracers import browser_or_skip


@pytest.mark.slow
def test_nothing_leaves_the_browser_but_through_the_leased_ip() -> None:
    browser_or_skip()
    need("iproute2", "ip")
    unshare = need("util-linux", "unshare")
    if os.geteuid() != 0:
        pytest.skip("needs root, for a network namespace")
    ran = subprocess.run(
        [unshare, "--net", sys.executable, "-m", "tests.integration.alone"], capture_output=True, text=True, timeout=90
    )
    assert ran.returncode == 0, ran.stderr
    out = json.loads(ran.stdout.splitlines()[-1])
    assert out["datagrams"] == 0, "neither names, nor QUIC, nor WebRTC"
    assert (out["candidates"], out["groups"]) == ("", []), "WebRTC tells no address, and asks no neighbour for one"
    assert out["begun"] == out["accepted"], "no connection went anywhere else"
    assert out["reached"] == 0, "no page reaches this machine"
    assert out["ends"] == ["http://b.example/landed", "refused_address", "refused_address"]
    assert "x1.example" in out["hosts"], "the page's scripts were loaded, through the leased IP"
