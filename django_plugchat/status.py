"""How each account is doing, and what needs a person. Numbers only: nothing here tells a secret or a phone number.

The rules, by name. They are about the last 24 hours where nothing else is said:

``silent``
    No new event for 36 hours, nor for twice the longest pause, in whole days, between the events of the 14 days
    before the last one. Where all of those were on one day no pause is usual, and the limit is 14 days.
``failures``
    More than half of at least 20 events say that the message was not sent.
``overdue``
    A dispatch has been due for over two leases: nothing runs ``plugchat_redispatch``, or the workers are behind.
``exhausted``
    A dispatch has failed for the last time, whenever that was.
``rejected``
    A callback was rejected.
``rejected_full``
    ``MAX_REJECTED`` rejected callbacks are kept: new ones are lost.
``retiring_secret``
    Of the events new in three days: one last came by another secret of the account than its first, the registered.
``unknown_secret``
    Of the events new in three days: one last came by a secret that the account no longer has.
``no_receiver``
    An event was stored while no receiver was connected, though one is connected in this process.

An account that is no longer configured is shown for as long as something of it is stored; it can't be silent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from django.db import router
from django.db.models import Count, Max, Q, QuerySet
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from django_plugchat.conf import app_settings, secret_id
from django_plugchat.dispatch import has_receivers
from django_plugchat.models import DeliveryEvent, DeliveryEventQuerySet, RejectedCallback, RejectedCallbackQuerySet

_DAY = timedelta(days=1)
_RECENT_SECRETS = timedelta(days=3)
_SHORTEST_SILENCE = timedelta(hours=36)
_USUAL_DAYS = 14
_FAILURES_OF = 20

_Status = DeliveryEvent.DispatchStatus


@dataclass(frozen=True)
class OtherSecret:
    """One that is not the account's first, seen of late."""

    secret_id: str
    #: Configured still; else the account no longer has it.
    is_retiring: bool
    last_seen: datetime


@dataclass(frozen=True, kw_only=True)
class AccountStatus:
    account: str
    label: str
    is_configured: bool
    last_callback: datetime | None
    is_silent: bool
    other_secrets: list[OtherSecret]
    received: int = 0
    failed: int = 0
    due: int = 0
    overdue: int = 0
    exhausted: int = 0
    unheard: int = 0
    unheard_lately: int = 0
    rejected: int = 0
    rejected_kept: int = 0

    @property
    def problems(self) -> list[str]:
        """The names of the rules that say: this needs a person."""
        return [name for name, (applies, _meaning) in RULES.items() if applies(self)]


#: What each rule looks at, and what it says.
RULES: dict[str, tuple[Callable[[AccountStatus], bool], Promise]] = {
    "silent": (lambda of: of.is_silent, _("No callback for longer than usual. Is the webhook still registered?")),
    "failures": (
        lambda of: of.received >= _FAILURES_OF and of.failed * 2 > of.received,
        _("More than half of the messages were not sent. Is the WhatsApp account blocked or disconnected?"),
    ),
    "overdue": (
        lambda of: of.overdue > 0,
        _("Dispatches have been due for long. Does plugchat_redispatch run, and do the workers keep up?"),
    ),
    "exhausted": (
        lambda of: of.exhausted > 0,
        _("Dispatches have failed for the last time. The events say which receiver raised what."),
    ),
    "rejected": (lambda of: of.rejected > 0, _("Callbacks were rejected. Read them in the admin.")),
    "rejected_full": (
        lambda of: 0 < app_settings.max_rejected <= of.rejected_kept,
        _("As many rejected callbacks as MAX_REJECTED are kept: new ones are lost."),
    ),
    "retiring_secret": (
        lambda of: any(secret.is_retiring for secret in of.other_secrets),
        _("A retiring secret is still in use. Register the first one: plugchat_set_webhook."),
    ),
    "unknown_secret": (
        lambda of: any(not secret.is_retiring for secret in of.other_secrets),
        _("A secret that is no longer configured was in use: its callbacks are lost now."),
    ),
    "no_receiver": (
        lambda of: of.unheard_lately > 0 and has_receivers(),
        _(
            "Events were stored where no receiver is connected. Import your receivers in an AppConfig.ready(), then: "
            "plugchat_redispatch --include-none."
        ),
    ),
}


def statuses() -> list[AccountStatus]:
    """Of every account that is configured or has something stored, the configured ones first."""
    configured = list(app_settings.accounts)
    stored = {*_stored_accounts(DeliveryEvent), *_stored_accounts(RejectedCallback)}
    now = timezone.now()
    counts, secrets = _counts(now), _secrets_seen(now - _RECENT_SECRETS)
    # Of a collation that ignores case, a group may have another spelling than its account.
    stored.update(counts, secrets)
    return [
        _status_of(alias, now, counts[alias], secrets[alias])
        for alias in [*configured, *sorted(stored.difference(configured))]
    ]


def _events() -> DeliveryEventQuerySet:
    return DeliveryEvent.objects.using(router.db_for_write(DeliveryEvent))


def _rejected() -> RejectedCallbackQuerySet:
    return RejectedCallback.objects.using(router.db_for_write(RejectedCallback))


def _stored_accounts(model: type[DeliveryEvent | RejectedCallback]) -> Iterator[str]:
    # From each to the next along the index: DISTINCT would read all of it.
    rows: Any = model._default_manager.using(router.db_for_write(model)).order_by("account").values_list("account")
    found = rows.first()
    while found:
        yield found[0]
        found = rows.filter(account__gt=found[0]).first()


def _counts(now: datetime) -> dict[str, dict[str, int]]:
    """The counts of each account, in one walk for all accounts over what is counted."""
    two_leases = timedelta(seconds=2 * app_settings.dispatch_lease)
    walks: list[tuple[QuerySet[Any], dict[str, Q]]] = [
        (
            _events().filter(received_at__gt=now - _DAY),
            {
                "received": Q(),
                "failed": Q(outcome=DeliveryEvent.Outcome.FAILED),
                "unheard_lately": Q(dispatch_status=_Status.NONE),
            },
        ),
        (_events().due(), {"due": Q(), "overdue": Q(dispatch_due_at__lt=now - two_leases)}),
        (_events().filter(dispatch_status=_Status.FAILED, dispatch_due_at=None), {"exhausted": Q()}),
        (_events().filter(dispatch_status=_Status.NONE), {"unheard": Q()}),
        (_rejected(), {"rejected_kept": Q(), "rejected": Q(last_received_at__gt=now - _DAY)}),
    ]
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for rows, conditions in walks:
        counted = {name: Count("pk", filter=condition) for name, condition in conditions.items()}
        for row in rows.values("account").annotate(**counted):
            counts[row.pop("account")].update(row)
    return counts


def _status_of(alias: str, now: datetime, counts: dict[str, int], secrets_seen: dict[str, datetime]) -> AccountStatus:
    account = app_settings.accounts.get(alias)
    events = _events().for_account(alias)
    last = events.aggregate(last=Max("received_at"))["last"]
    return AccountStatus(
        account=alias,
        label=str(app_settings.label(alias)),
        is_configured=account is not None,
        last_callback=last,
        is_silent=account is not None and last is not None and _is_silent(events, last, now),
        other_secrets=_other_secrets(secrets_seen, account.webhook_secrets if account else ()),
        **counts,
    )


def _is_silent(events: DeliveryEventQuerySet, last: datetime, now: datetime) -> bool:
    if now - last <= _SHORTEST_SILENCE:
        return False
    days_with_any = [
        day
        for day in range(_USUAL_DAYS)
        if events.filter(received_at__gt=last - (day + 1) * _DAY, received_at__lte=last - day * _DAY).exists()
    ]
    pauses = [later - earlier - 1 for earlier, later in pairwise(days_with_any)]
    usual = max(_SHORTEST_SILENCE, 2 * max(pauses) * _DAY) if pauses else _USUAL_DAYS * _DAY
    return now - last > usual


def _secrets_seen(since: datetime) -> dict[str, dict[str, datetime]]:
    """By account and secret id, when an event last came by it."""
    seen: dict[str, dict[str, datetime]] = defaultdict(dict)
    rows = _events().filter(received_at__gt=since).values_list("account", "secret_id")
    for account, name, last_seen in rows.annotate(last_seen=Max("last_received_at")).order_by("secret_id"):
        seen[account][name] = last_seen
    return seen


def _other_secrets(seen: dict[str, datetime], secrets: tuple[str, ...]) -> list[OtherSecret]:
    known = [secret_id(secret) for secret in secrets]
    return [OtherSecret(name, name in known, last_seen) for name, last_seen in seen.items() if name not in known[:1]]
