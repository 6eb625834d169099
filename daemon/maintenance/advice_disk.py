"""Advice on the disk of the state directory. Pure."""

from collections.abc import Iterator

from daemon.maintenance.figures import Advice, Figures, Severity, counted

DAYS_MIN, DAYS_CRITICAL = 14.0, 3.0
FREE_MIN_BYTES = 512 * 1024**2


def disk_full_soon(f: Figures) -> Iterator[Advice]:
    disk = f.disk
    if disk is None or disk.free_bytes is None:
        return
    days, is_nearly_full = disk.days_left, disk.free_bytes < FREE_MIN_BYTES
    if not is_nearly_full and (days is None or days >= DAYS_MIN):
        return
    free_mb = disk.free_bytes / 1e6
    numbers: dict[str, float] = {"free_mb": round(free_mb)}
    sentence = f"The disk of the state directory has {free_mb:,.0f} MB free"
    if days is not None:
        largest = max(disk.tables, key=lambda table: table.bytes_per_day or 0)
        numbers |= {"days_left": days, "mb_per_day": round((disk.bytes_per_day or 0) / 1e6)}
        sentence += f", which last {counted(days, 'day')} at this rate; the table {largest.name} grows most"
    yield Advice(
        "disk_full_soon",
        Severity.CRITICAL if is_nearly_full or (days is not None and days < DAYS_CRITICAL) else Severity.WARNING,
        f"{sentence}. Without space nothing is traced: enlarge the disk, or keep rows for fewer days.",
        f"less than {DAYS_MIN:g} days are left at the growth of the last day, or less than "
        f"{FREE_MIN_BYTES / 1e6:.0f} MB are free",
        numbers,
        "tracepool status; set retention.hits_days lower, then reload",
    )
