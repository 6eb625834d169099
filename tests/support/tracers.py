"""Settings of a tracer, and a running browser: for each tier that traces."""

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate

from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.browser.browser import Browser
from daemon.trace.browser.command import PACKAGE, browser_program
from tests.fakes.net import ISSUER
from tests.support.needs import need

TOKEN = "a-token-for-the-tracer"


def tracer_settings(providers: dict[str, Any] | None = None, **trace: Any) -> Settings:
    return Settings(
        role="tracer",
        control={"bind": "127.0.0.1:0", "token": TOKEN},
        trace={"allow_private": True, "hop_timeout_s": 5, "connect_timeout_s": 2, "timeout_s": 20} | trace,
        providers=providers or {},
    )


def browser_or_skip() -> str:
    """The browser's program."""
    return browser_program() or need(PACKAGE)


@asynccontextmanager
async def browser_running(live: LiveSettings) -> AsyncIterator[Browser]:
    """A browser that trusts the certificates of tests/fakes/net.py."""
    browser_or_skip()
    key = load_pem_x509_certificate(ISSUER.cert_pem.bytes()).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    trusting = f"--ignore-certificate-errors-spki-list={base64.b64encode(digest).decode()}"
    async with trio.open_nursery() as nursery:
        browser = Browser(live, arguments=(trusting,))
        nursery.start_soon(browser.run)
        await trio.testing.wait_all_tasks_blocked()
        yield browser
        nursery.cancel_scope.cancel()
