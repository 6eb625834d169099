"""Where a visitor goes: the landing URL, or the tracking URL as a fallback, with the click's parameters set on it.

Pure. Nothing here lets a parameter choose the host: parameters are only ever put behind the "?" and before the "#".
"""

from collections.abc import Sequence

from daemon.errors import BadInput
from daemon.offers.macros import macro_url
from daemon.web.addresses import refused_host
from daemon.web.query import Param, as_mapping, params_of
from daemon.web.urls import decoded, header_safe, http_url, safe_piece, shown


def with_params(url: str, params: Sequence[Param]) -> str:
    """The URL with each parameter set on its query, ready for a Location header: printable ASCII without spaces.

    As URLSearchParams.set does it, but byte for byte elsewhere: the first parameter of the same decoded name is
    replaced where it stands and further ones of that name go; a new name is appended. Values given more than once for
    a name stand together, in order. The fragment stays last. Setting the same parameters twice changes nothing.
    Never raises, whatever the scheme.
    """
    url = header_safe(url)
    if not params:
        return url
    arriving: dict[str, list[str]] = {}
    for param in params:
        arriving.setdefault(param.name, []).append(safe_piece(param.raw))
    front, query, fragment = _parted(url)

    pieces: list[str] = []
    placed: set[str] = set()
    for piece in query.split("&"):
        name = decoded(piece.partition("=")[0])
        if not piece or name not in arriving:
            pieces.append(piece)
        elif name not in placed:
            placed.add(name)
            pieces.extend(arriving[name])

    # An empty last piece is an empty query or a trailing "&": what is appended takes its place, so that no "&" doubles.
    if pieces and not pieces[-1] and len(placed) < len(arriving):
        pieces.pop()
    for name, raws in arriving.items():
        if name not in placed:
            pieces.extend(raws)
    return f"{front}?{'&'.join(pieces)}{fragment}"


def extracted_params(url: str) -> dict[str, str | list[str]]:
    """The parameters of a landing URL for a jsonb column, repeated names as lists; the first PARAMS_MAX of them."""
    return as_mapping(params_of(_parted(header_safe(url))[1]))


def safe_location(url: str) -> str:
    """The URL as a Location header may carry it, changed only where it has to be.

    Raises BadInput if it is not an absolute http or https URL that a browser would accept.
    """
    return http_url(url)[0]


def is_redirectable(url: str) -> bool:
    """Whether `safe_location` accepts the URL."""
    try:
        http_url(url)
    except BadInput:
        return False
    return True


def fallback_location(tracking_url: str, params: Sequence[Param]) -> str:
    """The tracking URL with the visitor's parameters. Raises BadInput as `safe_location` does."""
    return with_params(safe_location(tracking_url), params)


def tracking_url(url: str, *, allow_private: bool) -> str:
    """An operator's tracking URL, fit for storing: absolute http or https, on a public host unless `allow_private`.

    Its macros stay; it is judged without them. Raises BadInput that names what is wrong and what would be right.
    """
    safe, host = macro_url(url)
    reason = None if allow_private else refused_host(host)
    if reason is not None:
        raise BadInput(f"{shown(url)}: {reason}; a tracking URL needs a public host, unless private ones are allowed")
    return safe


def _parted(url: str) -> tuple[str, str, str]:
    """(before the "?", the query without its "?", the fragment with its "#" or nothing)."""
    rest, mark, fragment = url.partition("#")
    front, _, query = rest.partition("?")
    return front, query, mark + fragment
