"""Every exception of tracepool, as one tree: whose fault it is decides what happens next. Pure.

OurFault is a bug: it is logged with its cause and restarts the actor it happened in. TheirFault names an operator's
input or a peer that did not do its part: the message says what, where and what would be right. A bound that is
reached is neither: it is expected, and so a value (NoIPAvailable, the reason of a fallback). A class's docstring is its
message where none is given.
"""


class TracepoolError(Exception):
    """Something in tracepool went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message if message is not None else (type(self).__doc__ or "").strip())


class OurFault(TracepoolError):
    """A rule that tracepool sets itself was broken."""


class IllegalTransition(OurFault):
    """The table of IP states has no such step."""


class TheirFault(TracepoolError):
    """Something outside tracepool did not do its part."""


class BadSettings(TheirFault):
    """A setting is unknown or out of range."""


class BadInput(TheirFault):
    """What an operator gave cannot be used."""


class DatabaseUnavailable(TheirFault):
    """PostgreSQL cannot be reached."""

    def __init__(
        self, message: str | None = None, remedy: str = "see that PostgreSQL runs and that database.url leads to it"
    ) -> None:
        """`remedy`: what an operator does next."""
        super().__init__(message)
        self.remedy = remedy


class StatementRefused(DatabaseUnavailable):
    """PostgreSQL refuses a statement of tracepool's: its tables, rights or triggers are not as tracepool needs them.

    Waiting and asking again is right, as with an outage: the statement works once an operator has followed `remedy`.
    """


class DatabaseOccupied(DatabaseUnavailable):
    """Another node works with this database: two would lease the same IPs."""

    def __init__(self, message: str, remedy: str = "nothing: this node joins again by itself") -> None:
        super().__init__(message, remedy)


class PoolSilent(TheirFault):
    """The actor of a pool does not answer: it waits for the disk or for the database, or ends."""


class DatabaseSetupFailed(TheirFault):
    """The embedded PostgreSQL cannot be created or started."""


class AlreadyRunning(TheirFault):
    """Another tracepool daemon works with this state directory or database."""
