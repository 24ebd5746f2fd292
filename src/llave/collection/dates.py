"""Dates and times in ISO form, and the spans of time that they name: ``2024-05`` is a month."""

import calendar
import re
from datetime import UTC, datetime, timedelta

__all__ = ["instant", "is_date", "span"]

DAY = r"\d{4}-\d{2}-\d{2}"
DATE = re.compile(rf"{DAY}([T ]\d{{2}}:\d{{2}}(:\d{{2}}(\.\d{{1,9}})?(Z|[+-]\d{{2}}:\d{{2}})?)?)?", re.ASCII)
SPAN = re.compile(rf"(\d{{4}})(-\d{{2}})?|{DATE.pattern}", re.ASCII)


def is_date(text: str) -> bool:
    """Whether it is a day, or a day and a time at least to the minute."""
    if len(text) > 32 or not DATE.fullmatch(text):
        return False
    try:
        instant(text)
    except ValueError:
        return False
    return True


def instant(text: str) -> datetime:
    """The beginning of a day, minute or second, in UTC and without a zone; where none is written, it is UTC.

    Raises:
        ValueError: no date, or in UTC one before the year 1 or after 9999.
    """
    found = datetime.fromisoformat(text)
    try:
        return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        raise ValueError(f"{text!r:.80} is not from the year 1 to 9999") from None


def span(text: str) -> tuple[datetime, datetime]:
    """When what a text names begins, and when it has ended: a year, month, day, minute, second or less.

    Raises:
        ValueError: no such text.
    """
    match = SPAN.fullmatch(text) if len(text) <= 32 else None
    if match is None:
        raise ValueError(f"{text!r:.80} is no date")
    try:
        if match[1]:
            year, month = int(match[1]), int(match[2][1:]) if match[2] else 0
            days = calendar.monthrange(year, month)[1] if month else 365 + calendar.isleap(year)
            start, length = datetime(year, month or 1, 1), timedelta(days=days)
        else:
            start = instant(text)
            units = {10: timedelta(days=1), 16: timedelta(minutes=1), 19: timedelta(seconds=1)}
            length = units.get(len(re.sub(r"(Z|[+-]\d\d:\d\d)$", "", text[10:])) + 10, timedelta(microseconds=1))
        return start, min(start, datetime.max - length) + length
    except ValueError:  # a month 13, a second 60
        raise ValueError(f"{text!r:.80} is no date") from None
