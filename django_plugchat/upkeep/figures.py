"""What is stored of each account, counted for all of them at once: a few statements, however many accounts there are.

The walks go along indexes, over the events of one day and over those that still need something. None of them reads the
whole table, and none asks for one account after another.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Min, Q
from django.utils.timesince import timesince
from django.utils.translation import gettext, ngettext

from django_plugchat import times
from django_plugchat.conf import app_settings
from django_plugchat.models import DeliveryEvent, Registration, RejectedCallback
from django_plugchat.provider.callbacks import DELIVERY_CALLBACK
from django_plugchat.provider.errors import Failure

DAY = timedelta(days=1)
#: How long ago an account's newest event may be for its secret to count as one in use.
RECENT_SECRET = timedelta(days=3)
#: The days before an account's newest event that say which pauses are usual.
USUAL_DAYS = 14
#: An event that has waited for its first attempt for longer waits in a queue that nobody works on.
LONGEST_WAIT = timedelta(hours=1)
#: A site without receivers has nothing but ``none`` events: the newest of them are counted, and no more.
MAX_NONE_COUNTED = 10_000

# SQLite takes 500 parts of a union.
_PROBES_AT_ONCE = 400

_Status = DeliveryEvent.DispatchStatus


@dataclass
class Figures:
    """Of one account. "Lately" means in the last 24 hours."""

    newest: DeliveryEvent | None = None
    #: Whatever came last: an event, new or repeated, or a callback that was rejected.
    last_callback: datetime | None = None
    #: Events new lately, by outcome.
    outcomes: Counter[str] = field(default_factory=Counter)
    #: Of these, those that a delivery callback made, and why some of them failed, by kind.
    deliveries: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    #: Of these, those that no receiver was connected for, and when the first of them came.
    none_lately: int = 0
    first_none: datetime | None = None
    #: Dispatches by their status, those that are over aside.
    dispatches: Counter[str] = field(default_factory=Counter)
    due: int = 0
    overdue: int = 0
    waiting_long: int = 0
    #: Retrying because a receiver raised, not because it asked to be told again.
    raised: int = 0
    next_retry_at: datetime | None = None
    rejected_kept: int = 0
    rejected_lately: int = 0
    #: When an event last came by each secret, by its id.
    secrets_seen: dict[str, datetime] = field(default_factory=dict)
    #: The last one last.
    registrations: list[Registration] = field(default_factory=list)

    def saw_callback(self, moment: datetime) -> None:
        self.last_callback = max(self.last_callback or moment, moment)

    def saw_secret(self, secret_id: str, moment: datetime) -> None:
        self.secrets_seen[secret_id] = max(self.secrets_seen.get(secret_id, moment), moment)

    @property
    def registered_at(self) -> datetime | None:
        return self.registrations[-1].registered_at if self.registrations else None


def collect(now: datetime) -> dict[str, Figures]:
    """By account: those that are configured, then those that something is stored of."""
    found: dict[str, Figures] = defaultdict(Figures)
    for alias in app_settings.accounts:
        found[alias] = Figures()
    _add_events_of_a_day(found, now)
    _add_failures(found, now)
    _add_dispatches(found, now)
    _add_rejected(found, now)
    for registration in Registration.objects.for_writing().order_by("registered_at", "pk"):
        found[registration.account].registrations.append(registration)
    for newest in _newest_events(list(found)):
        figures = found[newest.account]
        figures.newest = newest
        figures.saw_callback(newest.received_at)
        if newest.received_at > now - RECENT_SECRET:
            figures.saw_secret(newest.secret_id, newest.received_at)
    return found


def _events() -> Any:
    return DeliveryEvent.objects.for_writing()


def _add_events_of_a_day(found: dict[str, Figures], now: datetime) -> None:
    rows = _events().filter(received_at__gt=now - DAY).values("account", "secret_id", "type", "outcome")
    is_none = Q(dispatch_status=_Status.NONE)
    for row in rows.annotate(
        events=Count("pk"),
        last=Max("last_received_at"),
        none=Count("pk", filter=is_none),
        first_none=Min("received_at", filter=is_none),
    ):
        figures = found[row["account"]]
        figures.outcomes[row["outcome"]] += row["events"]
        if row["type"] == DELIVERY_CALLBACK:
            figures.deliveries += row["events"]
        figures.none_lately += row["none"]
        figures.first_none = min(filter(None, (figures.first_none, row["first_none"])), default=None)
        figures.saw_callback(row["last"])
        figures.saw_secret(row["secret_id"], row["last"])


def _add_failures(found: dict[str, Figures], now: datetime) -> None:
    failed = _events().failed().deliveries().filter(received_at__gt=now - DAY)
    for row in failed.values("account", "failure").annotate(events=Count("pk")):
        found[row["account"]].failures[row["failure"]] += row["events"]


def _add_dispatches(found: dict[str, Figures], now: datetime) -> None:
    two_leases = timedelta(seconds=2 * app_settings.dispatch_lease)
    asked = Q(dispatch_error__endswith=": TellAgain") & ~Q(dispatch_error__contains="\n")
    # With the status, by which SQLite finds them: by the date alone it would read the whole table.
    is_unfinished = Q(dispatch_status__in=(_Status.PENDING, _Status.RUNNING, _Status.RETRYING))
    unfinished = _events().unfinished().filter(is_unfinished).values("account", "dispatch_status")
    for row in unfinished.annotate(
        events=Count("pk"),
        due=Count("pk", filter=Q(dispatch_due_at__lte=now)),
        overdue=Count("pk", filter=Q(dispatch_due_at__lt=now - two_leases)),
        waiting_long=Count("pk", filter=Q(received_at__lt=now - LONGEST_WAIT, dispatch_due_at__gte=now - two_leases)),
        raised=Count("pk", filter=~asked),
        first=Min("dispatch_due_at"),
    ):
        figures = found[row["account"]]
        figures.dispatches[row["dispatch_status"]] += row["events"]
        figures.due += row["due"]
        figures.overdue += row["overdue"]
        if row["dispatch_status"] == _Status.PENDING:
            figures.waiting_long += row["waiting_long"]
        elif row["dispatch_status"] == _Status.RETRYING:
            figures.raised += row["raised"]
            figures.next_retry_at = row["first"]
    exhausted = _events().filter(dispatch_status=_Status.EXHAUSTED).values("account")
    for row in exhausted.annotate(events=Count("pk")):
        found[row["account"]].dispatches[_Status.EXHAUSTED] += row["events"]
    none = _events().filter(dispatch_status=_Status.NONE).order_by("-received_at", "-pk")
    for account in none.values_list("account", flat=True)[:MAX_NONE_COUNTED]:
        found[account].dispatches[_Status.NONE] += 1


def _add_rejected(found: dict[str, Figures], now: datetime) -> None:
    for row in (
        RejectedCallback.objects.for_writing()
        .values("account")
        .annotate(
            kept=Count("pk"),
            lately=Count("pk", filter=Q(last_received_at__gt=now - DAY)),
            last=Max("last_received_at"),
        )
    ):
        figures = found[row["account"]]
        figures.rejected_kept += row["kept"]
        figures.rejected_lately += row["lately"]
        figures.saw_callback(row["last"])


# One row of each account, by the index on it. GROUP BY would read every row on PostgreSQL and SQLite, and a recursive
# query or a correlated one would on MariaDB, which looks only for constants along an index. So: a union of constants.
_NEWEST = """
SELECT * FROM (
    SELECT id, account, received_at, secret_id FROM django_plugchat_deliveryevent
    WHERE account = %s ORDER BY received_at DESC, id DESC LIMIT 1
) newest"""
_NEXT_ACCOUNT = """
SELECT * FROM (
    SELECT id, account, received_at, secret_id FROM django_plugchat_deliveryevent
    WHERE account > %s ORDER BY account, received_at, id LIMIT 1
) next_account"""
_BETWEEN = """
SELECT * FROM (
    SELECT id, account, received_at, secret_id FROM django_plugchat_deliveryevent
    WHERE account = %s AND received_at > %s AND received_at <= %s LIMIT 1
) between_moments"""


def _newest_events(accounts: Iterable[str]) -> Iterator[DeliveryEvent]:
    """The newest event of each account that has one, also of accounts that are not among these."""
    known: set[str] = set()
    unasked = {"", *accounts}
    while unasked:
        known |= unasked
        asked = [(alias,) for alias in sorted(unasked)]
        yield from _probe(_NEWEST, asked)
        # All those that are configured are known from the start. A run of others takes a round for each of them.
        unasked = {event.account for event in _probe(_NEXT_ACCOUNT, asked)} - known


def days_with_events(newest: Iterable[DeliveryEvent]) -> dict[str, list[int]]:
    """Of the days before the newest event of each account: those that had any, counted backwards from it."""
    last = {event.account: event.received_at for event in newest}
    days: dict[str, list[int]] = {account: [] for account in last}
    for event in _probe(
        _BETWEEN,
        (
            (account, moment - (day + 1) * DAY, moment - day * DAY)
            for account, moment in last.items()
            for day in range(USUAL_DAYS)
        ),
    ):
        days[event.account].append((last[event.account] - event.received_at) // DAY)
    return {account: sorted(of_account) for account, of_account in days.items()}


def _probe(part: str, parameters: Iterable[tuple[Any, ...]]) -> Iterator[DeliveryEvent]:
    waiting = list(parameters)
    for start in range(0, len(waiting), _PROBES_AT_ONCE):
        batch = waiting[start : start + _PROBES_AT_ONCE]
        yield from _events().raw(" UNION ALL ".join([part] * len(batch)), [value for row in batch for value in row])


def describe(found: Figures) -> Iterator[str]:
    """What people read of an account, a line each."""
    yield _callbacks(found)
    outcomes = [f"{outcome.label} {count}" for outcome in DeliveryEvent.Outcome if (count := found.outcomes[outcome])]
    yield gettext("In 24 hours: %(outcomes)s") % {"outcomes": ", ".join(outcomes) or gettext("nothing")}
    if found.failures:
        yield commonest_failure(found)
    yield gettext("Dispatches: %(dispatches)s") % {"dispatches": _dispatches(found)}
    if found.rejected_kept:
        yield gettext("Rejected callbacks: %(lately)d in 24 hours, %(kept)d kept") % {
            "lately": found.rejected_lately,
            "kept": found.rejected_kept,
        }


def _callbacks(found: Figures) -> str:
    registered, last = found.registered_at, found.last_callback
    told = gettext("not registered by this site")
    if registered:
        told = gettext("registered %(ago)s ago") % {"ago": _ago(registered)}
    heard = gettext("last callback %(ago)s ago") % {"ago": _ago(last)} if last else gettext("no callback yet")
    return f"{told}, {heard}"


def _ago(moment: datetime) -> str:
    return timesince(moment, depth=1).replace("\xa0", " ")


def _dispatches(found: Figures) -> str:
    parts = [f"{status.label} {count}" for status in _Status if (count := found.dispatches[status])]
    if found.due:
        parts.append(gettext("due %(count)d") % {"count": found.due})
    if found.next_retry_at:
        parts.append(gettext("next attempt %(when)s") % {"when": times.shown(found.next_retry_at)})
    return ", ".join(parts) or gettext("nothing is waiting")


def commonest_failure(found: Figures) -> str:
    (kind, count), failed = found.failures.most_common(1)[0], found.failures.total()
    return ngettext(
        "%(count)d of %(failed)d failure: %(kind)s.", "%(count)d of %(failed)d failures: %(kind)s.", failed
    ) % {"count": count, "failed": failed, "kind": Failure(kind).label}
