"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

ConfigFile = Annotated[
    Path | None,
    Parameter(
        name="--config",
        metavar="FILE",
        help="Settings; else $TRACEPOOL_CONFIG, else /etc/tracepool/tracepool.toml if it is there.",
    ),
]
AsJSON = Annotated[bool, Parameter(name="--json", negative=(), show_default=False, help="JSON on standard output.")]
ImportFile = Annotated[str, Parameter(metavar="FILE", help="The file, or - for standard input.")]
Strict = Annotated[
    bool, Parameter(negative=(), show_default=False, help="One bad row refuses the file whole: nothing goes in.")
]
AllowPrivate = Annotated[
    bool, Parameter(negative=(), show_default=False, help="Accept URLs and hosts that are private or loopback.")
]
