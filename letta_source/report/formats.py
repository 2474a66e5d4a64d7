"""Format figures and names for people."""

from __future__ import annotations

from datetime import datetime, timedelta

from letta_source.times import written

NONE = "\N{EN DASH}"
MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
_LONGEST = 40


def count(number: float) -> str:
    """Format a number of things."""
    return f"{number:,.0f}"


def rough(number: float | None) -> str:
    """Format a number with three digits, for headlines; a dash for None."""
    if number is None:
        return NONE
    if number >= 999.5e9:
        return f"{count(number / 1e9)} B"
    # Numbers that three digits round up to the next unit use that unit: .3g writes 1000 as 1e+03.
    for unit, size, least in (("B", 1e9, 999.5e6), ("M", 1e6, 999.5e3), ("k", 1e3, 1e4)):
        if number >= least:
            return f"{number / size:.3g} {unit}"
    return count(number)


def seconds(time: float | None) -> str:
    """Format a duration in a fitting unit: `84 ms`, `0.8 s`, `2 s`, `3 min 20 s`, `1 h 5 min`, `3 d 4 h`.

    Zero means less than a second: dates of messages are whole seconds.
    """
    if time is None:
        return NONE
    if time < 0.0005:
        return "<1 ms" if time > 0 else "<1 s"
    if time < 0.0995:
        return f"{time * 1000:.0f} ms"
    if time < 9.95 and time != int(time):
        return f"{time:.1f} s"
    whole = round(time)
    for one, other, size in (("d", "h", 3600), ("h", "min", 60), ("min", "s", 1)):
        units = whole // size
        per = 24 if one == "d" else 60
        if units >= per:
            return f"{units // per} {one} {units % per} {other}"
    return f"{whole} s"


def dollars(amount: float | None) -> str:
    """Format dollars; a dash for None."""
    if amount is None:
        return NONE
    if 0 < abs(amount) < 0.01:
        return f"${amount:.2g}" if abs(amount) >= 0.0001 else "<$0.0001"
    return f"${amount:,.2f}"


def share(part: float | None) -> str:
    """Format a part of 1 as percent; a dash for None."""
    if part is None:
        return NONE
    return f"{part:.1%}" if part else "0%"


def change(now: float | None, before: float | None) -> str:
    """Format a change as `+12%`, from tenfold on as a multiple; empty if there is nothing to compare."""
    if now is None or not before:
        return ""
    by = now / before - 1
    if by >= 9:
        return f"{TIMES}{now / before:,.0f}"
    text = f"{abs(by):.0%}"
    return "±0%" if text == "0%" else ("+" if by > 0 else MINUS) + text


def points(now: float | None, before: float | None) -> str:
    """Format a change of a share in percentage points: `+1.2 points`; empty if one is unknown."""
    if now is None or before is None:
        return ""
    text = f"{abs(now - before) * 100:.1f}"
    if text == "0.0":
        return "±0 points"
    return f"{'+' if now > before else MINUS}{text} points"


def day(time: datetime) -> str:
    """Format a date."""
    return f"{time.day} {time:%b} {time.year:04}"


def moment(time: datetime | None) -> str:
    """Format a time to the second; all times of the report are UTC."""
    return written(time) if time else NONE


def age(time: timedelta) -> str:
    """Format a duration."""
    return "less than a minute" if time < timedelta(minutes=1) else seconds(time.total_seconds())


def short(name: str) -> str:
    """Shorten a long name to its beginning and end, where names differ."""
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 13]}…{name[-12:]}"


def named(name: str | None, what: str, others: str) -> str:
    """Return a name for display: `others` for None (all not shown), a placeholder for an empty name."""
    if name is None:
        return others
    return name.strip() or f"({what} without a name)"
