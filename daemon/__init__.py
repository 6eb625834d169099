"""tracepool answers ad clicks. This folder in the order in which a click passes through it:

    __main__.py, cli/   the command; `serve` runs the daemon
    supervisor.py       start, restart and stop order; runtime.py builds the parts. Read this first
    click/              server (connections) → routes (HTTP) → clicks (offer, deadline, answer); parse, answer: pure
    trace/              dispatch accepts jobs → workers take them → steps decide the next hop (pure) → fetch goes
                        through the leased proxy; backends.py: or a remote service does
    pool/               an actor per country around pool.py (pure) and states.py (the table); sql_sync.py takes over edits by SQL
    journal/            entries → writer → spool (local, durable) → shipper → PostgreSQL
    database/           postgres.py, the embedded server, queries.sql, migrations/
    maintenance/        the round of every minute; advice and plans (pure)
    control/            the operator's face: what the commands ask, an API, metrics; api.py says how it grows
    logbook/            the log read again: which lines, in colour; the story of one click
    tracer_role.py      a daemon that only traces for others
    demo/               an ad network and proxies on loopback

Imports run downward: the command, the supervisor, actors and faces, messages and pure files, entries, errors.
"""

__version__ = "0.1.0"
