"""The URLs that a visitor may be sent to. Pure."""

from collections.abc import Collection, Sequence

from daemon.web.query import Param, with_params
from daemon.web.urls import http_url


def safe_location(url: str) -> str:
    """The URL as a Location header may carry it, changed only where it has to be.

    Raises BadInput if it is not an absolute http or https URL that a browser would accept.
    """
    return http_url(url)[0]


def landing_location(final_url: str, schemes: Collection[str], params: Sequence[Param]) -> str:
    """A trace's final URL with the click's parameters. `schemes`: those beyond http and https that the offer allows.

    Raises BadInput as `safe_location` does.
    """
    is_allowed = final_url.partition(":")[0].lower() in schemes
    return with_params(final_url if is_allowed else safe_location(final_url), params)


def fallback_location(tracking_url: str, params: Sequence[Param]) -> str:
    """The tracking URL with the visitor's parameters. Raises BadInput as `safe_location` does."""
    return with_params(safe_location(tracking_url), params)
