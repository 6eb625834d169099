"""All exceptions of tracepool. Pure.

OurFault is a bug: it is logged with a traceback and restarts its actor. TheirFault is wrong input or the failure of a
peer: its message has what, where, and the remedy. A limit that is reached is expected, and so a value (NoIPAvailable,
the reason of a fallback). A class's docstring is its default message.
"""

from collections.abc import Sequence


class TracepoolError(Exception):
    """Something in tracepool went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message if message is not None else (type(self).__doc__ or "").strip())


class OurFault(TracepoolError):
    """A rule inside tracepool was broken."""


class IllegalTransition(OurFault):
    """The table of IP states has no such transition."""


class TheirFault(TracepoolError):
    """Something outside of tracepool failed."""


class BadSettings(TheirFault):
    """A setting is unknown or out of range."""


class DatabaseUnfit(BadSettings):
    """The database cannot be used as it is, and waiting does not change that."""


class BadInput(TheirFault):
    """An operator's input is invalid."""

    def __init__(self, message: str | None = None, *, field: str = "") -> None:
        """`field`: the field of the input that is wrong; empty: none in particular."""
        super().__init__(message)
        self.errors: tuple[tuple[str, str], ...] = ((field, str(self)),) if field else ()


class FieldsRefused(BadInput):
    """Fields of the input are invalid."""

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        """`errors`: each wrong field with its sentence."""
        super().__init__("; ".join(sentence for _, sentence in errors))
        self.errors = tuple(errors)


class DatabaseUnavailable(TheirFault):
    """PostgreSQL cannot be reached."""

    remedy = "check that PostgreSQL runs and that database.url leads to it"

    def __init__(self, message: str | None = None, remedy: str | None = None) -> None:
        """`remedy`: what an operator does next."""
        super().__init__(message)
        self.remedy = remedy or self.remedy


class StatementRefused(DatabaseUnavailable):
    """PostgreSQL refuses a statement, because of its tables, rights or triggers.

    As with an outage, the statement is tried again: it works after an operator has followed `remedy`.
    """


class DatabaseBusy(DatabaseUnavailable):
    """PostgreSQL ended a statement: a lock was not free in time, a time limit was reached, or a deadlock."""

    remedy = "look for locks and a low statement_timeout (pg_stat_activity)"


class DatabaseMigrating(DatabaseUnavailable):
    """The database is being migrated."""

    remedy = "wait: a migration that is interrupted goes on with its last step"


class DatabaseOccupied(DatabaseUnavailable):
    """Another node works with this database: two would lease the same IPs."""

    remedy = "nothing: this node joins again by itself"


class NodeDisplaced(TheirFault):
    """Another daemon runs with this node's id: its machine or its state directory was cloned."""


class DiskUnavailable(DatabaseUnavailable):
    """The disk of the state directory refuses writes."""

    remedy = "free some space on the disk of the state directory, or make it writable"


class FileUnusable(DatabaseUnavailable):
    """A file that the settings name cannot be used."""

    remedy = (
        "put a country file in mmdb format there, readable for the daemon, such as GeoLite2-Country.mmdb; or change"
        " click.country_file"
    )


class PoolSilent(TheirFault):
    """A pool's actor does not answer: it waits for the disk or the database, or ends."""


class DatabaseSetupFailed(TheirFault):
    """The embedded PostgreSQL cannot be created or started."""


class AlreadyRunning(TheirFault):
    """Another tracepool daemon works with this state directory or database."""
