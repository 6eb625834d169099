"""SIGHUP: which settings a running daemon takes over, and which wait for a restart. Pure."""

from daemon.settings.model import Settings

# What is read anew for each click, trace or round. All else is built into listeners, queues and connections.
LIVE = frozenset(
    {
        "click.deadline_s",
        "click.waiting_max",
        "journal.keep_s",
        "control.token",
        "control.hosts",
        "pool.lock_s",
        "pool.cooldown_s",
        "pool.failures_max",
        "pool.waiting_max",
        "pool.selection",
        "pool.batch_below_percent",
        "trace.timeout_s",
        "trace.backend",
        "trace.service_url",
        "trace.service_token",
        "trace.retries_max",
        "trace.hops_max",
        "trace.allow_private",
        "trace.body_bytes_max",
        "trace.refresh_max_s",
        "trace.user_agent",
        "trace.default_country",
        "provision.check_url",
        "provision.check_timeout_s",
        "provision.check_slow_s",
        "maintenance.interval_s",
        "maintenance.retention_days",
        "maintenance.delete_batch_rows",
        "log.level",
    }
)


def changed_keys(before: Settings, after: Settings) -> list[str]:
    """`section.key` of each setting that differs; providers, state_dir and role by their first word."""
    changed = []
    for section in Settings.model_fields:
        old, new = getattr(before, section), getattr(after, section)
        if old == new:
            continue
        if section in ("providers", "state_dir", "role"):
            changed.append(section)
        else:
            fields = type(old).model_fields
            changed += [f"{section}.{key}" for key in fields if getattr(old, key) != getattr(new, key)]
    return changed


def taken_over(before: Settings, after: Settings) -> tuple[Settings, list[str], list[str]]:
    """The settings to run with from now on, the keys among them that are new, and those that wait for a restart."""
    changed = changed_keys(before, after)
    live = [key for key in changed if key in LIVE or key == "providers"]
    update: dict[str, object] = {}
    for section in {key.partition(".")[0] for key in live}:
        if section == "providers":
            update[section] = after.providers
            continue
        fields = [key.partition(".")[2] for key in live if key.startswith(f"{section}.")]
        values = {field: getattr(getattr(after, section), field) for field in fields}
        update[section] = getattr(before, section).model_copy(update=values)
    return before.model_copy(update=update), live, [key for key in changed if key not in live]
