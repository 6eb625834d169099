"""The URL that a click is redirected to. Pure."""

from collections.abc import Collection, Sequence

from daemon.web.query import Param, with_params
from daemon.web.urls import http_url


def landing_location(final_url: str, schemes: Collection[str], params: Sequence[Param]) -> str:
    """A trace's final URL with the click's parameters. `schemes`: allowed beside http and https.

    Raises BadInput if the URL has another scheme or a browser would not accept it.
    """
    is_allowed = final_url.partition(":")[0].lower() in schemes
    return with_params(final_url if is_allowed else http_url(final_url)[0], params)


def fallback_location(tracking_url: str, params: Sequence[Param]) -> str:
    """The tracking URL with the click's parameters. Raises BadInput as `http_url` does."""
    return with_params(http_url(tracking_url)[0], params)
