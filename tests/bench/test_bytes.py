"""The bytes of a trace, counted by the trace and by the proxy, over real sockets."""

import pytest

from tests.bench.bytes import DISAGREEMENT_PERCENT, HOSTS, PAGE_BYTES, PAGES, STOPPED_KB, TARGETS_KB, wire


@pytest.mark.parametrize("page", PAGES)
async def test_an_unread_landing_page_costs_little_and_the_proxy_counts_the_same(page: str) -> None:
    async with wire(PAGES[page]) as served:
        for scheme, most_kb in TARGETS_KB.items():
            cost = await served.traced(f"{scheme}://{HOSTS[0]}/")
            assert 1_000 < cost.proxy <= most_kb * 1_000 < PAGE_BYTES
            assert cost.off_percent <= DISAGREEMENT_PERCENT


async def test_a_page_where_the_offer_stops_costs_nothing() -> None:
    async with wire(PAGES["text at once"]) as served:
        for scheme, most_kb in STOPPED_KB.items():
            cost = await served.traced(f"{scheme}://{HOSTS[0]}/", frozenset({HOSTS[-1]}))
            assert cost.proxy <= most_kb * 1_000
            assert cost.off_percent <= DISAGREEMENT_PERCENT
