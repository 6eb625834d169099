"""POST /api/maintenance: a maintenance round now, and the same for programs that call it by its older name."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_response

from daemon.control.api import GetContext, note_change
from daemon.control.resources.status import AdviceStatus
from daemon.maintenance.advisor import said


@dataclass(frozen=True, slots=True)
class UnhealthyIp:
    """An IP that failed too often in a row."""

    ip: str
    country: str
    provider: str
    consecutive_failures: int
    failure_count: int
    success_count: int


@dataclass(frozen=True, slots=True)
class MaintenanceReport:
    """What a round found and did. `statistics` is the row of ip_pool_statistics that it wrote."""

    overdue_ips: int
    expired_locks: int
    ended_cooldowns: int
    timed_out_traces: int
    removed_traces: int
    unhealthy: list[UnhealthyIp]
    statistics: dict[str, Any]
    advice: list[AdviceStatus]


@dataclass(frozen=True, slots=True)
class PoolStats:
    total_ips: int
    available_ips: int
    utilization_percent: float
    active_requests: int
    unhealthy_ips: int


@dataclass(frozen=True, slots=True)
class PoolMaintenance:
    """`timestamp`: when the round had ended."""

    success: bool
    maintenance_completed: bool
    pool_stats: PoolStats
    timestamp: datetime


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("maintenance", __name__)

    @routes.post("/api/maintenance")
    @validate_response(MaintenanceReport)
    async def round_now() -> MaintenanceReport:
        """A maintenance round now."""
        report = await context().maintenance()
        note_change(timed_out_traces=report.timed_out_traces, removed_traces=report.removed_traces)
        names = MaintenanceReport.__dataclass_fields__.keys() - {"unhealthy", "advice"}
        unhealthy = [UnhealthyIp(**asdict(ip)) for ip in report.unhealthy]
        advice = [AdviceStatus(**said(one)) for one in report.advice]
        return MaintenanceReport(**{name: getattr(report, name) for name in names}, unhealthy=unhealthy, advice=advice)

    @routes.post("/functions/v1/ip-pool-maintenance")
    @validate_response(PoolMaintenance)
    async def ip_pool_maintenance() -> PoolMaintenance:
        """A maintenance round now, told in brief."""
        statistics = (await context().maintenance()).statistics
        stats = PoolStats(
            total_ips=statistics["total_ips"],
            available_ips=statistics["available_ips"],
            utilization_percent=statistics["pool_utilization_percent"],
            active_requests=statistics["active_requests"],
            unhealthy_ips=statistics["failed_ips"],
        )
        return PoolMaintenance(True, True, stats, datetime.now(UTC))

    return routes
