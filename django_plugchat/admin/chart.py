"""How far the messages of each day have come: a drawing, its numbers, and the failures by kind."""

from bisect import bisect_right
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
from django_plugchat.admin.base import ReadOnlyAdmin, uncompiled
from django_plugchat.admin.filters import MAX_MESSAGES_READ, ReceivedFilter, SituationFilter
from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.errors import Failure
from django_plugchat.querysets import DeliveryEventQuerySet

MAX_DAYS = 30
#: Of the drawing, which is stretched to the width of the page.
HEIGHT, BAR, GAP = 900, 8, 2
_LEAST_HEIGHT = 12

_Outcome = DeliveryEvent.Outcome
#: What stands on the ground first.
_FROM_THE_GROUND = (_Outcome.FAILED, _Outcome.SENT, _Outcome.RECEIVED, _Outcome.READ, _Outcome.PLAYED)


@dataclass
class Bar:
    start: datetime
    label: str
    x: int
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def text(self) -> str:
        return ", ".join(f"{outcome.label}: {count}" for outcome in _Outcome if (count := self.counts[outcome]))

    def blocks(self, highest: int) -> list[tuple[str, int, int]]:
        """Outcome, y and height, from the ground up."""
        top, drawn = HEIGHT, []
        for outcome in _FROM_THE_GROUND:
            if count := self.counts[outcome]:
                # One failure among thousands is still seen.
                height = min(top, max(_LEAST_HEIGHT, HEIGHT * count // highest))
                top -= height
                drawn.append((outcome.value, top, height))
        return drawn


@dataclass
class Chart:
    """``first`` to ``last`` day, both included; a bar for each hour where that is one day, else for each day."""

    first: date
    last: date
    bars: list[Bar] = field(default_factory=list)
    #: Of too many messages the delivery callbacks are counted, which say "sent" or "failed" and no more.
    by_callbacks: bool = False
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def by_hour(self) -> bool:
        return self.first == self.last

    @property
    def outcomes(self) -> list[_Outcome]:
        """The columns of the table."""
        return [_Outcome.SENT, _Outcome.FAILED] if self.by_callbacks else list(_Outcome)

    @property
    def counts(self) -> Counter[str]:
        return sum((bar.counts for bar in self.bars), Counter())

    @property
    def highest(self) -> int:
        return max(bar.counts.total() for bar in self.bars)

    @property
    def ends(self) -> list[datetime]:
        return [*(bar.start for bar in self.bars[1:]), times.start_of(self.last + timedelta(days=1))]

    def draw_axis(self) -> None:
        day_format = "H:i" if self.by_hour else "SHORT_DATE_FORMAT"
        self.bars = [
            Bar(start, date_format(times.local(start), day_format), x=number * (BAR + GAP))
            for number, start in enumerate(self._starts())
        ]

    def _starts(self) -> list[datetime]:
        if not self.by_hour:
            return [times.start_of(self.first + timedelta(days=n)) for n in range((self.last - self.first).days + 1)]
        start, end = times.start_of(self.first), times.start_of(self.first + timedelta(days=1))
        if settings.USE_TZ:
            # Where clocks change, a day has 23 or 25 hours.
            start, end = start.astimezone(UTC), end.astimezone(UTC)
        return [start + timedelta(hours=n) for n in range(int((end - start) / timedelta(hours=1)))]


def chart(events: DeliveryEventQuerySet, *, since: date | None, until: date | None) -> Chart:
    """Of the days asked for, the last ``MAX_DAYS``, and none after today."""
    last = min(until or times.today(), times.today())
    first = max(since or date.min, last - timedelta(days=MAX_DAYS - 1))
    drawn = Chart(first=min(first, last), last=last)
    drawn.draw_axis()
    in_range = events.order_by().filter(received_at__gte=drawn.bars[0].start, received_at__lt=drawn.ends[-1])
    messages = in_range.deliveries()
    with uncompiled(events.db):
        drawn.by_callbacks = messages.order_by("-received_at", "-pk")[MAX_MESSAGES_READ:].exists()
        if drawn.by_callbacks:
            _count_callbacks(drawn, in_range)
        else:
            _count_messages(drawn, messages)
    return drawn


def _count_messages(drawn: Chart, messages: DeliveryEventQuerySet) -> None:
    starts = [bar.start for bar in drawn.bars]
    for received_at, outcome, failure in messages.messages().values_list("received_at", "progress", "failure"):
        drawn.bars[bisect_right(starts, received_at) - 1].counts[outcome] += 1
        if outcome == _Outcome.FAILED:
            drawn.failures[failure] += 1


def _count_callbacks(drawn: Chart, events: DeliveryEventQuerySet) -> None:
    ends = drawn.ends
    # A query for each bar, in one union: so an index alone tells, without the rows.
    counts = [
        events.deliveries()
        .filter(received_at__gte=bar.start, received_at__lt=end)
        .values(bar=Value(number))
        .annotate(events=Count("pk"))
        for number, (bar, end) in enumerate(zip(drawn.bars, ends, strict=True))
    ]
    for row in counts[0].union(*counts[1:], all=True):
        drawn.bars[row["bar"]].counts += Counter({_Outcome.SENT: row["events"]})
    # Not Trunc: MariaDB needs time zone tables for it that are often not loaded.
    number = Case(
        *(When(received_at__lt=end, then=Value(n)) for n, end in enumerate(ends)), output_field=IntegerField()
    )
    failed = events.filter(failure__in=Failure.values)
    for row in failed.values("failure", bar=number).annotate(events=Count("pk")):
        bar = drawn.bars[row["bar"]]
        bar.counts[_Outcome.FAILED] += row["events"]
        # One may have come between the two statements.
        bar.counts[_Outcome.SENT] = max(0, bar.counts[_Outcome.SENT] - row["events"])
        drawn.failures[row["failure"]] += row["events"]


class ChartPage(ReadOnlyAdmin):
    """For the admin of events: a page beside the list, of the same rows."""

    def get_urls(self) -> list[URLPattern]:
        return [self.page_of_rows("chart", self.chart_view), *super().get_urls()]

    def chart_view(self, request: HttpRequest, changelist: Any) -> HttpResponse:
        (received,) = (spec for spec in changelist.filter_specs if isinstance(spec, ReceivedFilter))
        (situation,) = (spec for spec in changelist.filter_specs if isinstance(spec, SituationFilter))
        drawn = chart(changelist.queryset, since=received.since, until=received.until)
        counts, highest = drawn.counts, drawn.highest
        periods = list(received.choices(changelist))[1:]
        # Without a choice it is of the last days, which are the last choice.
        periods[-1]["selected"] |= not received.used_parameters
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("Messages over time"),
            "subtitle": None,
            "media": self.media,
            "chart": drawn,
            "most_read": MAX_MESSAGES_READ,
            "read_since": situation.read_since,
            "total": counts.total(),
            "highest": highest,
            "width": len(drawn.bars) * (BAR + GAP),
            "height": HEIGHT,
            "bar_width": BAR,
            "series": [(outcome, outcome.label, counts[outcome]) for outcome in drawn.outcomes],
            "bars": [(bar, bar.blocks(highest), [bar.counts[it] for it in drawn.outcomes]) for bar in drawn.bars],
            "failed_percent": 100 * counts[_Outcome.FAILED] / max(1, counts.total()),
            "time_zone": timezone.get_current_timezone_name(),
            "periods": periods,
            "is_own_range": bool(received.typed_since or received.typed_until),
            "narrowed": self._narrowed(changelist),
            "failures": [
                (Failure(kind).label, count, changelist.get_query_string({"situation": kind}))
                for kind, count in drawn.failures.most_common()
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
