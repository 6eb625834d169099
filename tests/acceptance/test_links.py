"""No dead end, and one click once, through a real daemon: the short forms of `python -m tests.bench links`."""

from pathlib import Path

from tests.support.links import Links, Repeated, repeats_of
from tests.support.processes import network_of, offer, provision, run_command, serving

FALLBACK = "https://shop.example/all"
ADDRESSES = tuple(f"127.2.7.{number}" for number in range(1, 31))
TRUSTS = {"trusted_proxies": ["127.0.0.1"]}


async def test_each_link_that_an_advertiser_may_write_ends_in_a_redirect(state_dir: Path) -> None:
    """Without IPs each click falls back; the answer of a prefetch is 503, and that of the click after it a redirect."""
    async with serving(state_dir, {"click": {"fallback_url": FALLBACK, **TRUSTS}, "pool": {"cooldown_s": 0}}) as daemon:
        await offer(daemon, "summer-sale", "https://ads.example/c")
        await offer(daemon, "paused", "https://ads.example/p")
        await daemon.psql("update offers set is_active = false where offer_name = 'paused'")
        sent = Links()
        await sent.send(daemon.port, count=600, seed=7)
        assert not sent.dead_ends
        assert sent.statuses == {302: 600, 503: sent.prefetches_refused}
        assert sent.prefetches_refused > 20
        assert await daemon.stop() == 0
        assert daemon.faults() == []


async def test_repeats_prefetches_and_previews_use_no_lease_and_are_no_clicks(state_dir: Path) -> None:
    settings: dict[str, dict[str, object]] = {"click": {"repeat_s": 600, **TRUSTS}, "pool": {"cooldown_s": 0}}
    async with network_of(ADDRESSES) as network, serving(state_dir, settings) as daemon:
        await provision(daemon, network, ADDRESSES)
        await offer(daemon, "sale", network.chain_url(hops=2, delay_ms=50))
        sent = Repeated()
        await sent.send(daemon.port, repeats_of("sale", clicks=12, requests=96, seed=7))
        assert not sent.unequal
        assert sum(sent.answers.values()) == 96
        assert set(sent.answers) == {302, 503}
        await run_command("maintenance", TRACEPOOL_STATE_DIR=str(daemon.state_dir))  # which ships the rows first
        [[leases]] = await daemon.psql("select sum(total_uses) from ip_rotation_pool")
        kinds = {row[0]: row[1] for row in await daemon.psql("select kind, count(*) from hits group by 1")}
        assert (leases, kinds["click"]) == ("12", "12")
        assert sum(map(int, kinds.values())) == sent.answers[302]
        assert await daemon.stop() == 0
        assert daemon.faults() == []
