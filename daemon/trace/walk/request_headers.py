"""The headers of a trace's requests. Pure."""

from ada_url import URL

from daemon.trace.page.body import ACCEPT_ENCODING
from daemon.trace.walk.hops import Identity
from daemon.trace.walk.referrers import Referrer, origin_to, referer_to
from daemon.web.headers import header_text

_ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

Fields = tuple[tuple[str, str], ...]


def identity_fields(identity: Identity) -> Fields:
    """The headers of every request."""
    language = identity.accept_language
    languages = (("Accept-Language", header_text(language)),) if language else ()
    agent = ("User-Agent", header_text(identity.user_agent))
    return (agent, ("Accept", _ACCEPT), *languages, ("Accept-Encoding", ACCEPT_ENCODING))


def referrer_fields(url: URL, method: str, referrer: Referrer | None) -> Fields:
    """Referer and Origin."""
    if referrer is None:
        return ()
    referer = referer_to(url, referrer)
    found = (("Referer", referer),) if referer else ()
    return (*found, ("Origin", origin_to(url, referrer))) if method == "POST" else found
