"""config/tracepool.toml documents every key with the default of the code."""

import re
import tomllib
from pathlib import Path

from daemon.providers.settings import Provider, templates
from daemon.settings.model import Settings

FILE = Path(__file__).parents[2] / "config" / "tracepool.toml"
UNCOMMENTED = re.compile(r"^#(?=\[providers\.luna\]|[a-z_]+ = )", re.MULTILINE)
WITHOUT_A_DEFAULT_VALUE = {"state_dir", "providers"}


def test_the_documented_settings_are_the_defaults() -> None:
    documented = tomllib.loads(FILE.read_text())
    assert Settings(**documented) == Settings()


def test_every_key_is_documented_and_none_beyond() -> None:
    documented = tomllib.loads(UNCOMMENTED.sub("", FILE.read_text()))
    for section, defaults in Settings().model_dump().items():
        if section in WITHOUT_A_DEFAULT_VALUE or not isinstance(defaults, dict):
            assert section in documented
        else:
            assert set(documented[section]) == set(defaults), section


def test_every_key_of_a_provider_is_documented_with_its_default() -> None:
    text = FILE.read_text()
    documented = tomllib.loads(UNCOMMENTED.sub("", text))["providers"]["luna"]
    assert documented == {**Provider().model_dump(), "password": "", "username": "customer", "answers": []}
    assert ", ".join(templates()) in text
