"""`tracepool token`: access to the control face."""

from typing import Annotated, Literal

from cyclopts import Parameter

from daemon.cli.output import say, say_rows_json, say_table, warn
from daemon.cli.session import AsJSON, ConfigFile, change, settings_of, work
from daemon.control import token_store
from daemon.control.access import hash_of
from daemon.control.actions import Action
from daemon.errors import BadInput

Name = Annotated[str, Parameter(metavar="NAME")]


def create(
    name: Name,
    *,
    role: Annotated[Literal["read", "operator"], Parameter(help="operator may also change things.")] = "read",
    config: ConfigFile = None,
) -> None:
    """Create a token and print it. It is shown only once: only its hash is stored.

    NAME tells whose token it is; the log names it with each change.

        tracepool token create grafana
        tracepool token create anna --role operator
        curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8081/api/status
    """
    token = token_store.new_token(name)
    if not change(
        settings_of(config),
        lambda done: Action("create token", name, {"role": role}) if done else None,
        token_store.create_token,
        *(name, role, hash_of(token)),
    ):
        raise BadInput(token_store.in_force(name))
    say(token)
    warn(f"tracepool: keep this token: it is not shown again. The control face now needs a token ({role}: {name})")


def list_tokens(*, as_json: AsJSON = False, config: ConfigFile = None) -> None:
    """List the tokens: names, roles, and when each was created, used and revoked.

    tracepool token list
    tracepool token list --json
    """  # fmt: skip
    found = work(settings_of(config), token_store.list_tokens)
    if as_json:
        say_rows_json(found)
        return
    say_table(
        ("name", "role", "created", "last used", "revoked"),
        [(one.name, one.role, one.created_at, one.last_used_at, one.revoked_at) for one in found],
    )


def revoke(name: Name, *, config: ConfigFile = None) -> None:
    """Revoke a token. A running daemon refuses it within a second.

    tracepool token revoke grafana
    """  # fmt: skip
    described = Action("revoke token", name)
    if not change(settings_of(config), lambda done: described if done else None, token_store.revoke_token, name):
        raise BadInput(token_store.not_in_force(name))
    say(f"revoked {name}")
