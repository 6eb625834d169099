"""Numbers, bytes, durations and money as text, the same in commands and dashboard. Pure.

The dashboard's static/js/dom.js has the same functions; tests/unit/test_formats.py has their examples. The text of a
missing value is "–".
"""

MISSING = "–"


def number(n: float | None, digits: int = 0) -> str:
    """1234.5 → `1,234.5`. `digits`: at most so many decimals."""
    if n is None:
        return MISSING
    text = f"{n:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percentage(value: float | None) -> str:
    return MISSING if value is None else f"{number(value, 1)}%"


def size_in_words(count: float | None) -> str:
    """Bytes in decimal units, as providers sell them: `1.25 GB`."""
    if count is None:
        return MISSING
    size, units = float(count), ["B", "KB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size, units = size / 1_000, units[1:]
    three_digits = float(format(size, ".3g"))
    return f"{three_digits:.15g} {units[0]}"


def duration(seconds: float | None) -> str:
    """75 → `75 s`, 300 → `5 min`, 9000 → `2.5 h`, 400000 → `4.6 d`."""
    if seconds is None:
        return MISSING
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 5_400:
        return f"{seconds / 60:.0f} min"
    return f"{number(seconds / 3_600, 1)} h" if seconds < 172_800 else f"{number(seconds / 86_400, 1)} d"


def milliseconds(value: float | None) -> str:
    """345 → `345 ms`, 1234 → `1.23 s`."""
    if value is None:
        return MISSING
    if value < 999.5:
        return f"{value:.0f} ms"
    return f"{value / 1_000:.3g} s" if value < 90_000 else duration(value / 1_000)


def dollars(cost: float | None) -> str:
    if cost is None:
        return MISSING
    return f"${cost:,.2f}" if cost >= 0.01 or not cost else f"${cost:.4f}"
