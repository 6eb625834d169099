"""Which settings a reload changes, and which need a restart."""

from pathlib import Path

from daemon.settings.live import LiveSettings, merged
from daemon.settings.model import Settings


def test_a_live_setting_is_merged_and_another_waits() -> None:
    before = Settings()
    after = Settings(click={"deadline_s": 5, "backlog": 100}, pool={"cooldown_s": 1})
    now, live, waiting = merged(before, after)
    assert (now.click.deadline_s, now.click.backlog, now.pool.cooldown_s) == (5, before.click.backlog, 1)
    assert sorted(live) == ["click.deadline_s", "pool.cooldown_s"]
    assert waiting == ["click.backlog"]


def test_nothing_changed_is_nothing_to_do() -> None:
    assert merged(Settings(), Settings()) == (Settings(), [], [])


def test_a_provider_is_merged_whole() -> None:
    after = Settings(providers={"luna": {"username": "customer", "password": "secret"}})
    now, live, waiting = merged(Settings(), after)
    assert now.providers["luna"].password.get_secret_value() == "secret"
    assert (live, waiting) == (["providers"], [])


def test_a_moved_state_directory_waits_for_a_restart() -> None:
    after = Settings(state_dir=Path("/elsewhere"))
    assert merged(Settings(), after)[1:] == ([], ["state_dir"])


def test_a_subscriber_gets_the_current_settings_at_once_and_those_of_each_reload() -> None:
    live, seen = LiveSettings(Settings()), list[float]()
    live.subscribe(lambda settings: seen.append(settings.click.deadline_s))
    live.replace(Settings(click={"deadline_s": 5, "backlog": 100}))
    live.replace(Settings(click={"deadline_s": 6}))
    assert seen == [10, 5, 6]
    assert (live.current.click.deadline_s, live.current.click.backlog) == (6, Settings().click.backlog)
