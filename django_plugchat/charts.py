"""What was sent and what failed over time, as the bars of a chart."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Case, Count, F, IntegerField, Value, When
from django.utils import formats, timezone

from django_plugchat.models import DeliveryEvent, DeliveryEventQuerySet

MAX_DAYS = 30
COMMON_ERRORS = 5
HEIGHT = 900  # of the drawing; its unit is nobody's
BAR, GAP = 8, 2


def today() -> date:
    return timezone.localdate() if settings.USE_TZ else datetime.now().date()  # noqa: DTZ005


def start_of(day: date) -> datetime:
    """When a day begins, where the project is."""
    midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001
    return timezone.make_aware(midnight) if settings.USE_TZ else midnight


@dataclass
class Bar:
    label: str
    x: int
    sent: int = 0
    failed: int = 0
    sent_height: int = 0
    failed_height: int = 0

    @property
    def sent_y(self) -> int:
        return self.failed_y - self.sent_height

    @property
    def failed_y(self) -> int:
        return HEIGHT - self.failed_height


@dataclass
class Chart:
    """``first`` to ``last`` day, both included; one bar an hour where that is one day, else one a day."""

    first: date
    last: date
    bars: list[Bar] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    sent: int = 0
    failed: int = 0
    highest: int = 0
    height: int = HEIGHT
    bar_width: int = BAR

    @property
    def by_hour(self) -> bool:
        return self.first == self.last

    @property
    def width(self) -> int:
        return len(self.bars) * (BAR + GAP)

    def starts(self) -> list[datetime]:
        """When each bar begins."""
        if not self.by_hour:
            return [start_of(self.first + timedelta(days=n)) for n in range((self.last - self.first).days + 1)]
        start, end = start_of(self.first), start_of(self.first + timedelta(days=1))
        if settings.USE_TZ:
            # Where clocks change, a day has 23 or 25 hours.
            start, end = start.astimezone(UTC), end.astimezone(UTC)
        return [start + timedelta(hours=n) for n in range(int((end - start) / timedelta(hours=1)))]

    def label(self, start: datetime) -> str:
        local = timezone.localtime(start) if settings.USE_TZ else start
        return formats.date_format(local, "H:i" if self.by_hour else "MONTH_DAY_FORMAT")


def chart(events: DeliveryEventQuerySet, *, since: date | None, until: date | None) -> Chart:
    """Of the days asked for, the last ``MAX_DAYS``."""
    last = until or today()
    first = max(since or date.min, last - timedelta(days=MAX_DAYS - 1))
    result = Chart(first=min(first, last), last=last)
    starts = result.starts()
    result.bars = [Bar(label=result.label(start), x=n * (BAR + GAP)) for n, start in enumerate(starts)]
    events = events.order_by().filter(received_at__gte=starts[0], received_at__lt=start_of(last + timedelta(days=1)))

    # Not Trunc: MariaDB needs time zone tables for it that are often not loaded.
    number = Case(
        *(When(received_at__lt=start, then=Value(n)) for n, start in enumerate(starts[1:])),
        default=Value(len(starts) - 1),
        output_field=IntegerField(),
    )
    for row in events.values(bar=number, said=F("outcome")).annotate(events=Count("*")):
        of_bar = result.bars[row["bar"]]
        if row["said"] == DeliveryEvent.Outcome.FAILED:
            of_bar.failed = row["events"]
        else:
            of_bar.sent = row["events"]
    result.sent = sum(bar.sent for bar in result.bars)
    result.failed = sum(bar.failed for bar in result.bars)
    result.highest = max(bar.sent + bar.failed for bar in result.bars)
    for bar in result.bars:
        # One failure among thousands is still seen.
        bar.failed_height = bar.failed and max(12, HEIGHT * bar.failed // result.highest)
        bar.sent_height = min(HEIGHT - bar.failed_height, bar.sent and max(12, HEIGHT * bar.sent // result.highest))
    result.errors = list(
        events.filter(outcome=DeliveryEvent.Outcome.FAILED)
        .values("error", "error_code")
        .annotate(events=Count("*"))
        .order_by("-events", "error")[:COMMON_ERRORS]
    )
    return result
