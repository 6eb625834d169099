"""A hook of schemathesis before each request: a proxy that a request names is on this machine."""

from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    named = case.body.get("proxy_ip") if case.path == "/trace" and isinstance(case.body, dict) else None
    if isinstance(named, str) and 0 < len(named) <= 255:  # a value that the schema refuses is kept
        case.body["proxy_ip"] = "127.0.0.1"
