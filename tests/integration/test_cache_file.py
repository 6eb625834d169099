"""The cache file of offers, for a start without PostgreSQL."""

import stat
from pathlib import Path
from uuid import uuid4

import pytest

from daemon.offers.cache_file import NAME, remember_offers, remembered_offers
from daemon.offers.model import Offers

ROW = {
    "id": uuid4(),
    "offer_name": "söhne & sale",
    "final_url": "https://ads.example/go?c=1",
    "target_country": "us",
    "deadline_s": 7.5,
    "user_agent": "default",
    "landing_schemes": ["market"],
}


def test_offers_come_back_as_they_were(tmp_path: Path) -> None:
    remember_offers(tmp_path, [ROW])
    before, after = Offers(), Offers()
    assert before.replace([ROW]) == after.replace(remembered_offers(tmp_path)) == []
    assert after.find("söhne & sale") == before.find("söhne & sale") is not None


def test_only_the_daemons_user_can_read_the_file(tmp_path: Path) -> None:
    remember_offers(tmp_path, [ROW])
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content", [None, b"", b"[", b"{}", b"[1]", b'[{"id": "x"}]', b'[{"id": null}]', b"\xff", b"null"]
)
def test_an_unreadable_file_gives_no_offers(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / NAME).write_bytes(content)
    assert remembered_offers(tmp_path) == []
