"""What is stored of each account: a statement for each figure, along an index, however many accounts there are."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.db.models import Case, Count, Max, Min, OuterRef, Q, Subquery, Value, When
from django.utils.timesince import timesince
from django.utils.translation import gettext

from django_plugchat import times
from django_plugchat.conf import app_settings
from django_plugchat.models import Connection, DeliveryEvent, Registration, RejectedCallback
from django_plugchat.phones.numbers import mask_id
from django_plugchat.provider.callbacks import DELIVERY_CALLBACK, MESSAGE_STATUS_CALLBACK
from django_plugchat.provider.calls import TYPE_OF_WEBHOOK
from django_plugchat.provider.errors import Failure
from django_plugchat.statements import uncompiled

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
#: The days before the last one that say how many messages are usually received.
USUAL = 14 * DAY
#: Fewer messages say nothing about how many usually arrive.
ENOUGH_MESSAGES = 20
#: How long ago an account's newest event may be for its secret to count as one in use.
RECENT_SECRET = timedelta(days=3)

_Status = DeliveryEvent.DispatchStatus


@dataclass
class Figures:
    """Of one account. "Lately" means in the last 24 hours."""

    #: Dispatches by their status (``none`` lately, and not those that are done), which of them are ``due``, ``overdue``
    #: for two leases, ``waiting`` in a queue for over an hour, or retrying because a receiver ``raised``; the
    #: ``rejected`` and ``unknown`` (status) callbacks that are kept, and those ``rejected_lately``, ``unknown_lately``.
    counts: Counter[str] = field(default_factory=Counter)
    #: Events new lately, by outcome: those that delivery callbacks made, and those that statuses made.
    deliveries: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    #: Of the deliveries, why some of them failed, by kind.
    failures: Counter[str] = field(default_factory=Counter)
    #: How many messages were sent, and of those received: in the day that ended an hour ago, and in the 14 days before
    #: it, which are counted only where few of that day were received.
    day: tuple[int, int] = (0, 0)
    usual: tuple[int, int] = (0, 0)
    #: Whatever came last: an event, new or repeated, or a callback that was rejected.
    last_callback: datetime | None = None
    #: When an event that is no failure last came, of those new lately.
    last_success: datetime | None = None
    next_retry_at: datetime | None = None
    #: When an event last came of each type, and by each secret lately.
    last_of_type: dict[str, datetime] = field(default_factory=dict)
    last_by_secret: dict[str, datetime] = field(default_factory=dict)
    #: The instances that events new lately were about.
    instances: set[str] = field(default_factory=set)
    connections: list[Connection] = field(default_factory=list)
    #: What this site registered, the last one last.
    registrations: list[Registration] = field(default_factory=list)

    @property
    def registered_text(self) -> str:
        if not self.registrations:
            return gettext("not registered by this site")
        return gettext("registered %(ago)s ago") % {"ago": _ago(self.registrations[-1].registered_at)}

    @property
    def commonest_failure(self) -> str:
        ((kind, count),) = self.failures.most_common(1)
        label = dict(Failure.choices).get(kind, kind)  # of a later version
        values = {"count": count, "failed": self.failures.total(), "kind": label}
        return gettext("Why: %(kind)s, %(count)d of %(failed)d.") % values

    def last_call(self, registration: Registration) -> datetime | None:
        """When a callback of a registered webhook last came, if one has come since it was registered."""
        type_ = TYPE_OF_WEBHOOK.get(registration.webhook)
        came = [self.last_of_type.get(type_)] if type_ else [connection.reported_at for connection in self.connections]
        return max((moment for moment in came if moment and moment >= registration.registered_at), default=None)


def collect(now: datetime, aliases: Collection[str] | None = None) -> dict[str, Figures]:
    """By account: of all that something is stored of, or of the named ones."""
    found: dict[str, Figures] = defaultdict(Figures)
    events = _of(DeliveryEvent, aliases)
    _add_newest_events(found, now, aliases)
    with uncompiled(events.db):
        _add_events_of_a_day(found, events.filter(received_at__gt=now - DAY))
        _add_dispatches(found, now, events)
        _add_received(found, now, events)
    _add_rejected(found, now, _of(RejectedCallback, aliases))
    for registration in _of(Registration, aliases).order_by("registered_at", "pk"):
        found[registration.account].registrations.append(registration)
    for connection in _of(Connection, aliases).order_by("instance_id"):
        found[connection.account].connections.append(connection)
    return found


def _of(model: Any, aliases: Collection[str] | None) -> Any:
    rows = model.objects.for_writing().order_by()
    return rows if aliases is None else rows.filter(account__in=aliases)


def _later(known: datetime | None, moment: datetime) -> datetime:
    return max(known or moment, moment)


# The newest event of each account and type, from the last pair along the index back to the first, a step for each pair.
# With GROUP BY, PostgreSQL and SQLite would read every row; MariaDB leaps along the index then, and only then.
_LAST = "ORDER BY account DESC, type DESC, received_at DESC, id DESC LIMIT 1"
_WALK = f"""
WITH RECURSIVE newest (id) AS (
    SELECT (SELECT id FROM django_plugchat_deliveryevent {_LAST})
    UNION ALL
    SELECT COALESCE(
        (SELECT id FROM django_plugchat_deliveryevent WHERE account = known.account AND type < known.type {_LAST}),
        (SELECT id FROM django_plugchat_deliveryevent WHERE account < known.account {_LAST})
    ) FROM newest JOIN django_plugchat_deliveryevent known ON known.id = newest.id
)
SELECT id, account, type, received_at, secret_id FROM newest JOIN django_plugchat_deliveryevent USING (id)
ORDER BY received_at"""  # noqa: S608
_LEAPS = """
SELECT id, account, type, received_at, secret_id
FROM (SELECT account, type, MAX(received_at) AS received_at FROM django_plugchat_deliveryevent
      GROUP BY account, type) newest JOIN django_plugchat_deliveryevent USING (account, type, received_at)
ORDER BY received_at"""


def _add_newest_events(found: dict[str, Figures], now: datetime, aliases: Collection[str] | None) -> None:
    events = DeliveryEvent.objects.for_writing()
    for newest in events.raw(_LEAPS if connections[events.db].vendor == "mysql" else _WALK):
        if aliases is None or newest.account in aliases:
            figures = found[newest.account]
            figures.last_callback = figures.last_of_type[newest.type] = newest.received_at
            is_recent = newest.received_at > now - RECENT_SECRET
            figures.last_by_secret = {newest.secret_id: newest.received_at} if is_recent else {}


def _add_events_of_a_day(found: dict[str, Figures], events: Any) -> None:
    for row in events.values("account", "secret_id", "type", "outcome", "failure", "instance_id").annotate(
        events=Count("pk"), last=Max("last_received_at"), none=Count("pk", filter=Q(dispatch_status=_Status.NONE))
    ):
        figures, secret_id, last = found[row["account"]], row["secret_id"], row["last"]
        by_outcome = figures.deliveries if row["type"] == DELIVERY_CALLBACK else figures.statuses
        by_outcome[row["outcome"]] += row["events"]
        if row["failure"]:
            figures.failures[row["failure"]] += row["events"]
        else:
            figures.last_success = _later(figures.last_success, last)
        figures.counts["none"] += row["none"]
        figures.last_callback = _later(figures.last_callback, last)
        figures.last_by_secret[secret_id] = _later(figures.last_by_secret.get(secret_id), last)
        figures.instances.add(row["instance_id"])


def _add_dispatches(found: dict[str, Figures], now: datetime, events: Any) -> None:
    long_ago = now - timedelta(seconds=2 * app_settings.dispatch_lease)
    # By the status, of which few rows have these: by the date alone, SQLite would read the whole table.
    statuses = (_Status.PENDING, _Status.RUNNING, _Status.RETRYING, _Status.EXHAUSTED)
    rows = events.filter(dispatch_status__in=statuses).values("account", "dispatch_status")
    for row in rows.annotate(
        events=Count("pk"),
        due=Count("pk", filter=Q(dispatch_due_at__lte=now)),
        overdue=Count("pk", filter=Q(dispatch_due_at__lt=long_ago)),
        waiting=Count("pk", filter=Q(received_at__lt=now - HOUR, dispatch_due_at__gte=long_ago)),
        raised=Count("pk", filter=Q(dispatch_failed=True)),
        next_due_at=Min("dispatch_due_at"),
    ):
        figures, status = found[row["account"]], row["dispatch_status"]
        figures.counts.update({status: row["events"], "due": row["due"], "overdue": row["overdue"]})
        if status == _Status.PENDING:
            figures.counts["waiting"] = row["waiting"]
        elif status == _Status.RETRYING:
            figures.counts["raised"], figures.next_retry_at = row["raised"], row["next_due_at"]


def _add_received(found: dict[str, Figures], now: datetime, events: Any) -> None:
    since, before = now - HOUR - DAY, now - HOUR - DAY - USUAL
    for account, sent, received in _received(events, since, now - HOUR):
        found[account].day = sent, received
    poor = [
        alias
        for alias, figures in found.items()
        if figures.day[0] >= ENOUGH_MESSAGES
        and figures.day[1] * 2 < figures.day[0]
        and figures.last_of_type.get(MESSAGE_STATUS_CALLBACK, before) > before
    ]
    for account, sent, received in _received(events.filter(account__in=poor), before, since) if poor else ():
        found[account].usual = sent, received


def _received(events: Any, since: datetime, end: datetime) -> Any:
    rows = events.messages().sent().filter(received_at__gt=since, received_at__lte=end).exclude(message_id="")
    return rows.values_list("account").annotate(sent=Count("pk"), received=Count("reached_at"))


def _add_rejected(found: dict[str, Figures], now: datetime, callbacks: Any) -> None:
    is_new = Q(last_received_at__gt=now - DAY)
    for row in callbacks.values("account", "reason").annotate(
        kept=Count("pk"), lately=Count("pk", filter=is_new), last=Max("last_received_at")
    ):
        figures = found[row["account"]]
        kind = "unknown" if row["reason"] == RejectedCallback.Reason.UNKNOWN_STATUS else "rejected"
        figures.counts[kind] += row["kept"]
        figures.counts[f"{kind}_lately"] += row["lately"]
        figures.last_callback = _later(figures.last_callback, row["last"])


def first_calls(aliases: Collection[str]) -> dict[tuple[str, str], datetime | None]:
    """When each webhook, by account and name, was first called since it was registered; not those of connections."""
    type_ = Case(*(When(webhook=webhook, then=Value(type_)) for webhook, type_ in TYPE_OF_WEBHOOK.items()))
    calls = (
        DeliveryEvent.objects.for_writing()
        .filter(account=OuterRef("account"), type=OuterRef("type"), received_at__gte=OuterRef("registered_at"))
        .order_by("received_at", "pk")
    )
    registrations = _of(Registration, aliases).annotate(type=type_)
    rows = registrations.annotate(first=Subquery(calls.values("received_at")[:1]))
    return {(account, webhook): first for account, webhook, first in rows.values_list("account", "webhook", "first")}


def describe(found: Figures, *, only_provider: bool = False) -> Iterator[str]:
    """What people read of an account, a line each; or only what the provider said."""
    heard = gettext("no callback yet")
    if found.last_callback:
        heard = gettext("last callback %(ago)s ago") % {"ago": _ago(found.last_callback)}
    yield f"{found.registered_text}, {heard}"
    for connection in found.connections:
        text = gettext("Instance %(instance)s: disconnected since %(when)s")
        if connection.is_connected:
            text = gettext("Instance %(instance)s: connected since %(when)s")
        yield text % {"instance": mask_id(connection.instance_id), "when": times.shown(connection.since)}
    yield gettext("Delivery callbacks in 24 hours: %(outcomes)s") % {"outcomes": _counted(found.deliveries)}
    if found.failures:
        yield found.commonest_failure
    yield gettext("Statuses in 24 hours: %(outcomes)s") % {"outcomes": _counted(found.statuses)}
    if only_provider:
        return
    parts = [f"{status.label} {count}" for status in _Status if (count := found.counts[status])]
    if found.counts["due"]:
        parts.append(gettext("due %(count)d") % {"count": found.counts["due"]})
    if found.next_retry_at:
        parts.append(gettext("next attempt %(when)s") % {"when": times.shown(found.next_retry_at)})
    yield gettext("Dispatches: %(dispatches)s") % {"dispatches": ", ".join(parts) or gettext("nothing is waiting")}
    if kept := found.counts["rejected"] + found.counts["unknown"]:
        lately = found.counts["rejected_lately"] + found.counts["unknown_lately"]
        text = gettext("Rejected callbacks: %(lately)d in 24 hours, %(kept)d kept")
        yield text % {"lately": lately, "kept": kept}


def _counted(outcomes: Counter[str]) -> str:
    counts = [f"{outcome.label} {outcomes[outcome]}" for outcome in DeliveryEvent.Outcome if outcomes[outcome]]
    return ", ".join(counts) or gettext("nothing")


def _ago(moment: datetime) -> str:
    return timesince(moment, depth=1).replace("\xa0", " ")
