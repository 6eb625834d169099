"""The browser's program and its command line."""

import mmap
import os
import shutil

PROGRAMS = ("chromium-headless-shell", "chromium", "google-chrome-stable")  # in this order of preference
PACKAGE = "chromium-headless-shell"  # of Debian

# What a browser does by itself, besides what pages ask for, is switched off: all its traffic is a page's.
_FEATURES_OFF = (
    "AsyncDns",
    "AutofillServerCommunication",
    "CertificateTransparencyComponentUpdater",
    "DialMediaRouteProvider",
    "HttpsUpgrades",
    "InterestFeedContentSuggestions",
    "IsolateOrigins",  # one renderer a tab
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "Prerender2",
    "SpareRendererForSitePerProcess",
    "Translate",
    "UseDnsHttpsSvcb",
    "WebRtcHideLocalIpsWithMdns",  # joins a multicast group of the local network
    "site-per-process",
)
_SWITCHES = (
    "--headless",
    "--remote-debugging-pipe",
    "--block-new-web-contents",  # pop-ups
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-client-side-phishing-detection",
    "--disable-component-extensions-with-background-pages",
    "--disable-component-update",
    "--disable-crash-reporter",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-quic",
    "--disable-remote-fonts",
    "--disable-site-isolation-trials",
    "--disable-software-rasterizer",
    "--disable-sync",
    "--dns-prefetch-disable",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--hide-scrollbars",
    "--metrics-recording-only",
    "--mute-audio",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-pings",
    "--no-service-autorun",
    "--password-store=basic",
    # The proxy resolves all names. A name that the browser itself would resolve does not exist.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--window-size=1280,800",
)
_HEAP_MB_MAX = 128  # of the JavaScript heap of one tab


def browser_program() -> str | None:
    """The path of the browser's program, or None if none is installed."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def can_compile() -> bool:
    """Whether memory may be writable and executable: MemoryDenyWriteExecute= of systemd forbids it."""
    try:
        mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    except OSError:
        return False
    return True


def command_line(program: str, *, sandbox: bool, compiles: bool, user_agent: str) -> list[str]:
    """`sandbox`: the browser's own. `compiles`: JavaScript is compiled; otherwise V8 only interprets it."""
    features = ",".join(_FEATURES_OFF)
    engine = f"--js-flags=--max-old-space-size={_HEAP_MB_MAX}{'' if compiles else ' --jitless'}"
    line = [program, *_SWITCHES, f"--disable-features={features}", engine, f"--user-agent={user_agent}"]
    # The zygote sets capabilities, which the units forbid; it is of no use without the sandbox.
    return line if sandbox else [*line, "--no-sandbox", "--no-zygote"]


def account() -> tuple[int, int]:
    """The user and group that run the browser: those of this process; for root, those of `nobody`."""
    return (os.geteuid(), os.getegid()) if os.geteuid() != 0 else (65_534, 65_534)
