"""What was sent and what failed over time: a drawing, its numbers, and the failures by kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Case, Count, IntegerField, Value, When
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext

from django_plugchat import times
from django_plugchat.admin.base import ReadOnlyAdmin
from django_plugchat.admin.filters import ReceivedFilter
from django_plugchat.provider.errors import Failure
from django_plugchat.querysets import DeliveryEventQuerySet

MAX_DAYS = 30
#: Of the drawing, which is stretched to the width of the page.
HEIGHT, BAR, GAP = 900, 8, 2
_LEAST_HEIGHT = 12


@dataclass
class Bar:
    start: datetime
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
    """``first`` to ``last`` day, both included; a bar for each hour where that is one day, else for each day."""

    first: date
    last: date
    bars: list[Bar] = field(default_factory=list)
    #: Each kind with its label and how many messages it kept, the commonest first.
    failures: list[tuple[str, str, int]] = field(default_factory=list)
    height: int = HEIGHT
    bar_width: int = BAR

    @property
    def by_hour(self) -> bool:
        return self.first == self.last

    @property
    def width(self) -> int:
        return len(self.bars) * (BAR + GAP)

    @property
    def sent(self) -> int:
        return sum(bar.sent for bar in self.bars)

    @property
    def failed(self) -> int:
        return sum(bar.failed for bar in self.bars)

    @property
    def highest(self) -> int:
        return max(bar.sent + bar.failed for bar in self.bars)

    @property
    def failed_percent(self) -> float:
        total = self.sent + self.failed
        return 100 * self.failed / total if total else 0.0

    def _starts(self) -> list[datetime]:
        if not self.by_hour:
            return [times.start_of(self.first + timedelta(days=n)) for n in range((self.last - self.first).days + 1)]
        start, end = times.start_of(self.first), times.start_of(self.first + timedelta(days=1))
        if settings.USE_TZ:
            # Where clocks change, a day has 23 or 25 hours.
            start, end = start.astimezone(UTC), end.astimezone(UTC)
        return [start + timedelta(hours=n) for n in range(int((end - start) / timedelta(hours=1)))]

    def draw_axis(self) -> None:
        day_format = "H:i" if self.by_hour else "SHORT_DATE_FORMAT"
        self.bars = [
            Bar(start, date_format(times.local(start), day_format), x=number * (BAR + GAP))
            for number, start in enumerate(self._starts())
        ]

    def draw_bars(self) -> None:
        for bar in self.bars:
            # One failure among thousands is still seen.
            bar.failed_height = bar.failed and max(_LEAST_HEIGHT, HEIGHT * bar.failed // self.highest)
            most = HEIGHT - bar.failed_height
            bar.sent_height = min(most, bar.sent and max(_LEAST_HEIGHT, HEIGHT * bar.sent // self.highest))


def chart(events: DeliveryEventQuerySet, *, since: date | None, until: date | None) -> Chart:
    """Delivery callbacks: of the days asked for, the last ``MAX_DAYS``."""
    last = until or times.today()
    first = max(since or date.min, last - timedelta(days=MAX_DAYS - 1))
    drawn = Chart(first=min(first, last), last=last)
    drawn.draw_axis()
    ends = [*(bar.start for bar in drawn.bars[1:]), times.start_of(last + timedelta(days=1))]
    events = events.order_by()
    for row in _counts(events.deliveries(), drawn.bars, ends):
        drawn.bars[row["bar"]].sent = row["events"]
    drawn.failures = _add_failures(events.failed(), drawn.bars, ends)
    drawn.draw_bars()
    return drawn


def _counts(events: DeliveryEventQuerySet, bars: list[Bar], ends: list[datetime]) -> Any:
    """How many events each bar has. A query for each, in one union: so an index alone tells, without the rows."""
    counts = [
        events.filter(received_at__gte=bar.start, received_at__lt=end)
        .values(bar=Value(number))
        .annotate(events=Count("pk"))
        for number, (bar, end) in enumerate(zip(bars, ends, strict=True))
    ]
    return counts[0].union(*counts[1:], all=True)


def _add_failures(failed: DeliveryEventQuerySet, bars: list[Bar], ends: list[datetime]) -> list[tuple[str, str, int]]:
    """Set how many failed, and take them from ``sent``, which counts both so far. Returns kind, label and count."""
    # Not Trunc: MariaDB needs time zone tables for it that are often not loaded.
    number = Case(
        *(When(received_at__lt=end, then=Value(n)) for n, end in enumerate(ends)), output_field=IntegerField()
    )
    of_bars = failed.filter(received_at__gte=bars[0].start, received_at__lt=ends[-1])
    counts: Counter[str] = Counter()
    for row in of_bars.values("failure", bar=number).annotate(events=Count("pk")):
        bar = bars[row["bar"]]
        bar.failed += row["events"]
        # One may have come between the two statements.
        bar.sent = max(0, bar.sent - row["events"])
        counts[row["failure"]] += row["events"]
    return [(kind, str(Failure(kind).label), count) for kind, count in counts.most_common() if count]


class ChartPage(ReadOnlyAdmin):
    """For the admin of events: a page beside the list, of the same rows."""

    def get_urls(self) -> list[URLPattern]:
        return [self.page_of_rows("chart", self.chart_view), *super().get_urls()]

    def chart_view(self, request: HttpRequest, changelist: Any) -> HttpResponse:
        (received,) = (spec for spec in changelist.filter_specs if isinstance(spec, ReceivedFilter))
        drawn = chart(changelist.queryset, since=received.since, until=received.until)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("Sent and failed over time"),
            "subtitle": None,
            "media": self.media,
            "chart": drawn,
            "time_zone": timezone.get_current_timezone_name(),
            "periods": list(received.choices(changelist))[1:],
            "narrowed": self._narrowed(changelist),
            "failures": [
                (label, count, changelist.get_query_string({"failure": kind})) for kind, label, count in drawn.failures
            ],
            "query": changelist.get_query_string(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/django_plugchat/deliveryevent/chart.html", context)

    def _narrowed(self, changelist: Any) -> list[tuple[str, str]]:
        """What the chart is of, where it is not of everything: the titles and the values of the filters."""
        chosen = []
        for spec in changelist.filter_specs:
            for number, choice in enumerate(spec.choices(changelist)):
                if number and choice["selected"] and not isinstance(spec, ReceivedFilter):
                    chosen.append((str(spec.title), str(choice["display"])))
        if changelist.query:
            chosen.append((gettext("Search"), changelist.query))
        return chosen
