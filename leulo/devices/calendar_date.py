"""Seconds since 1970 to calendar fields and back, in integers and UTC."""

from __future__ import annotations

from calendar import monthrange
from datetime import date
from typing import Final, NamedTuple

EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
LAST_ORDINAL: Final = date(9999, 12, 31).toordinal()
SECONDS_PER_DAY: Final = 86_400


class CalendarTime(NamedTuple):
    """A moment; ``weekday`` is 1 for Sunday to 7, as clock chips count."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    weekday: int


def from_seconds(seconds: int) -> CalendarTime:
    """The calendar fields of ``seconds`` since 1970; kept within the years 1 to 9999."""
    days, rest = divmod(seconds, SECONDS_PER_DAY)
    day = date.fromordinal(min(max(EPOCH_ORDINAL + days, 1), LAST_ORDINAL))
    return CalendarTime(
        day.year,
        day.month,
        day.day,
        rest // 3600,
        rest // 60 % 60,
        rest % 60,
        day.isoweekday() % 7 + 1,
    )


def to_seconds(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int:
    """Seconds since 1970. A field out of range is taken as the nearest that exists."""
    year = min(max(year, 1), 9999)
    month = min(max(month, 1), 12)
    day = min(max(day, 1), monthrange(year, month)[1])
    return (
        (date(year, month, day).toordinal() - EPOCH_ORDINAL) * SECONDS_PER_DAY
        + min(max(hour, 0), 23) * 3600
        + min(max(minute, 0), 59) * 60
        + min(max(second, 0), 59)
    )
