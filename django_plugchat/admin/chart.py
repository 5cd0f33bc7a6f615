"""How far the messages of each day have come: a drawing, its numbers, and the failures by kind."""

from collections import Counter
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import Any

from django.db.models import Case, Count, IntegerField, Value, When
from django.http import HttpRequest, HttpResponse
from django.utils.formats import date_format
from django.utils.translation import gettext

from django_plugchat import times
from django_plugchat.admin.base import ReadOnlyAdmin
from django_plugchat.admin.filters import MAX_MESSAGES_READ, ReceivedFilter, SituationFilter
from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.errors import Failure
from django_plugchat.querysets import DeliveryEventQuerySet
from django_plugchat.statements import uncompiled

MAX_DAYS = 30

_Outcome = DeliveryEvent.Outcome
_FROM_THE_GROUND = (_Outcome.FAILED, _Outcome.SENT, _Outcome.RECEIVED, _Outcome.READ, _Outcome.PLAYED)


class Chart:
    """``first`` to ``last`` day, both included; a bar for each hour where that is one day, else for each day."""

    #: Of the drawing, which is stretched to the size of its place.
    height = 900

    def __init__(self, events: DeliveryEventQuerySet, since: date | None, until: date | None) -> None:
        # Of the days asked for the last ones, and none after today.
        self.last = min(until or times.today(), times.today())
        self.first = min(self.last, max(since or date.min, self.last - timedelta(days=MAX_DAYS - 1)))
        self.by_hour = self.first == self.last
        label, step = ("H:i", timedelta(hours=1)) if self.by_hour else ("SHORT_DATE_FORMAT", timedelta(days=1))
        number = (self.last - self.first + timedelta(days=1)) // step
        # By the clock on the wall: where that is changed, an hour may have no time, or twice as much.
        starts = [datetime.combine(self.first, time.min) + n * step for n in range(number + 1)]
        self.labels = [date_format(start, label) for start in starts[:-1]]
        #: By outcome.
        self.bars: list[Counter[str]] = [Counter() for _label in self.labels]
        self.failures: Counter[str] = Counter()
        with uncompiled(events.db):
            self._count(events.order_by(), [*map(times.as_stored, starts)])
        self.counts: Counter[str] = sum(self.bars, Counter())
        self.highest = max(bar.total() for bar in self.bars)

    def _count(self, events: DeliveryEventQuerySet, ends: list[datetime]) -> None:
        events = events.filter(received_at__gte=ends[0], received_at__lt=ends[-1])
        messages = events.deliveries()
        # Of those of a situation the progress has been read already, to find them.
        is_read = "progress" in events.query.annotations
        #: Of too many messages the delivery callbacks are counted, which say "sent" or "failed" and no more.
        self.by_callbacks = not is_read and messages.order_by("-received_at", "-pk")[MAX_MESSAGES_READ:].exists()
        groups: Any = messages.with_progress()
        if self.by_callbacks:
            # A count for each bar, in one statement: so it is a walk along an index, and no row is compared or grouped.
            counts = [
                messages.filter(received_at__gte=start, received_at__lt=end)
                .values(bar=Value(number))
                .annotate(messages=Count("*"))
                for number, (start, end) in enumerate(pairwise(ends))
            ]
            for row in counts[0].union(*counts[1:], all=True):
                self.bars[row["bar"]] += Counter({_Outcome.SENT: row["messages"]})
            groups = events.filter(failure__in=Failure.values).annotate(progress=Value(_Outcome.FAILED.value))
        # Not Trunc: MariaDB needs time zone tables for it that are often not loaded.
        numbers = (When(received_at__lt=end, then=Value(number)) for number, end in enumerate(ends[1:]))
        groups = groups.values("progress", "failure", bar=Case(*numbers, output_field=IntegerField()))
        for row in groups.annotate(messages=Count("*")):
            bar, count = self.bars[row["bar"]], row["messages"]
            bar[row["progress"]] += count
            if self.by_callbacks:
                bar -= Counter({_Outcome.SENT: count})
            # Another try of the same message may have failed, and not this one.
            if row["failure"] and row["progress"] == _Outcome.FAILED:
                self.failures[row["failure"]] += count

    def blocks(self, bar: Counter[str]) -> list[tuple[_Outcome, int, int, int]]:
        """Outcome, count, y and height, from the ground up."""
        top, drawn = self.height, []
        for outcome in _FROM_THE_GROUND:
            if count := bar[outcome]:
                # One failure among thousands is still seen.
                height = min(top, max(12, self.height * count // self.highest))
                top -= height
                drawn.append((outcome, count, top, height))
        return drawn


def show(model_admin: ReadOnlyAdmin, request: HttpRequest, changelist: Any) -> HttpResponse:
    """A page beside the list of messages, of the same rows."""
    specs = changelist.filter_specs
    (received,) = (spec for spec in specs if isinstance(spec, ReceivedFilter))
    (situation,) = (spec for spec in specs if isinstance(spec, SituationFilter))
    kinds: dict[str, Any] = dict(Failure.choices)
    chart = Chart(changelist.queryset, since=received.since, until=received.until)
    outcomes = [_Outcome.SENT, _Outcome.FAILED] if chart.by_callbacks else list(_Outcome)
    # Of each filter the first choice is everything.
    chosen = [(spec.title, choice) for spec in specs for choice in list(spec.choices(changelist))[1:]]
    return model_admin.own_page(
        request,
        "deliveryevent/chart",
        gettext("Messages over time"),
        cl=changelist,
        chart=chart,
        situation=situation,
        series=[(outcome, chart.counts[outcome]) for outcome in outcomes],
        bars=[
            (label, chart.blocks(bar), [bar[outcome] for outcome in outcomes])
            for label, bar in zip(chart.labels, chart.bars, strict=True)
        ],
        failed_percent=100 * chart.counts[_Outcome.FAILED] / (chart.counts.total() or 1),
        received=received,
        periods=list(received.choices(changelist))[1:],
        narrowed=[(title, it["display"]) for title, it in chosen if it["selected"] and title != received.title],
        failures=[
            (kinds.get(kind, kind), count, changelist.get_query_string({"situation": kind}))
            for kind, count in chart.failures.most_common()
        ],
    )
