"""What the journal is told of an IP after a step of states.py. Pure."""

from daemon.clock import Moment
from daemon.journal.entries import IpChanged
from daemon.pool.states import NEVER_USED, Ip


def ip_changed(ip: Ip, event: str, now: Moment) -> IpChanged:
    """The IP's whole changeable state, its times on the wall clock."""
    until_s, health_s = ip.locked_until_s, ip.last_health_check_s
    return IpChanged(
        id=ip.id,
        event=event,
        status=ip.status.value,
        locked_until=None if until_s is None else now.wall_at(until_s),
        locked_by_request=ip.locked_by,
        last_used_at=None if ip.last_used_s == NEVER_USED else now.wall_at(ip.last_used_s),
        total_uses=ip.total_uses,
        success_count=ip.success_count,
        failure_count=ip.failure_count,
        consecutive_failures=ip.consecutive_failures,
        is_healthy=ip.is_healthy,
        avg_response_time_ms=ip.avg_response_time_ms,
        last_health_check=None if health_s is None else now.wall_at(health_s),
        lease_no=ip.lease_no,
        edit_no=ip.edit_no,
        probe_failures=ip.probe_failures,
        address=ip.address,
        port=ip.port,
    )
