"""config/tracepool.toml documents the defaults; it cannot say anything else than the code."""

import re
import tomllib
from pathlib import Path

from daemon.config import Settings

FILE = Path(__file__).parents[2] / "config" / "tracepool.toml"
WITHOUT_A_DEFAULT_VALUE = {"state_dir", "providers"}


def test_the_documented_settings_are_the_defaults() -> None:
    documented = tomllib.loads(FILE.read_text())
    assert Settings(**documented) == Settings()


def test_every_key_is_documented_and_none_beyond() -> None:
    text = FILE.read_text()
    documented = tomllib.loads(
        re.sub(r"^#(?=(\[|url|state_dir|username|password|token))", "", text, flags=re.MULTILINE)
    )
    for section, defaults in Settings().model_dump().items():
        if section in WITHOUT_A_DEFAULT_VALUE:
            assert section in documented
        else:
            assert set(documented[section]) == set(defaults), section
