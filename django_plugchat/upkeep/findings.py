"""How each account is doing, and what needs a person. Numbers only: nothing here tells a secret or a phone number.

The rules, by name. They are about the last 24 hours where nothing else is said:

``never_called``
    A configured account never got a callback.
``silent_since_registered``
    No callback since this site registered its URL, more than an hour ago.
``silent``
    No callback for 36 hours, nor for twice the longest pause, in whole days, between the events of the 14 days
    before the newest one. Where all of those were on one day no pause is usual, and the limit is 14 days.
``failures``
    More than half of at least 20 delivery callbacks say that the message was not sent.
``overdue``
    A dispatch has been due for over two leases: nothing runs ``plugchat_redispatch``, or the workers are behind.
``waiting``
    An event that came over an hour ago waits in a queue for its first attempt: the workers stand still.
``exhausted``
    A dispatch has failed for the last time, whenever that was.
``retrying``
    A receiver raised, and the event waits to be tried again. One that raised TellAgain is no finding.
``rejected``
    A callback was rejected.
``rejected_full``
    ``MAX_REJECTED`` rejected callbacks are kept: new ones are lost.
``retiring_secret``
    An event came by another secret of the account than its first, the registered one: in 24 hours, or, where there
    were none, the newest of three days.
``unknown_secret``
    The same by a secret that the account no longer has.
``no_receiver``
    An event was stored while no receiver was connected, though one is connected in this process.

An account that is no longer configured is shown for as long as something of it is stored; it can't be silent.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, pairwise
from typing import NamedTuple

from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext, ngettext

from django_plugchat import dispatch, times
from django_plugchat.conf import Account, app_settings, secret_id
from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.calls import MESSAGE_STATUS_WEBHOOK, UPDATE_WEBHOOKS_KEYS
from django_plugchat.upkeep import figures
from django_plugchat.upkeep.figures import DAY, USUAL_DAYS, Figures

_SHORTEST_SILENCE = timedelta(hours=36)
#: Twice the longest pause that the usual days can have: whoever is silent for longer is, whatever was usual.
_LONGEST_SILENCE = 2 * USUAL_DAYS * DAY
_JUST_REGISTERED = timedelta(hours=1)
_FAILURES_OF = 20

_Dispatch = DeliveryEvent.DispatchStatus


class Finding(NamedTuple):
    """Something that needs a person."""

    #: Of the rule.
    name: str
    text: str
    #: What to run, as it can be pasted into a shell; "" where the admin is the place to go.
    command: str = ""


@dataclass(frozen=True)
class OtherSecret:
    """One that is not the account's first, seen of late."""

    secret_id: str
    #: Configured still; else the account no longer has it.
    is_retiring: bool
    last_seen: datetime

    def __str__(self) -> str:
        values = {"secret_id": self.secret_id, "when": times.shown(self.last_seen)}
        if self.is_retiring:
            return gettext("Retiring secret in use: %(secret_id)s, last %(when)s") % values
        return gettext("Unknown secret in use: %(secret_id)s, last %(when)s") % values


@dataclass(frozen=True)
class AccountStatus:
    alias: str
    #: None when the account is no longer configured.
    configured: Account | None
    figures: Figures
    is_silent: bool

    @property
    def label(self) -> str:
        return str(self.configured.label) if self.configured else self.alias

    @property
    def name(self) -> str:
        """For people: the label, and the alias where that is another."""
        return self.alias if self.label == self.alias else f"{self.label} ({self.alias})"

    @cached_property
    def other_secrets(self) -> list[OtherSecret]:
        known = [secret_id(secret) for secret in self.configured.webhook_secrets] if self.configured else []
        return [
            OtherSecret(seen, seen in known, moment)
            for seen, moment in sorted(self.figures.secrets_seen.items())
            if seen not in known[:1]
        ]

    @cached_property
    def findings(self) -> list[Finding]:
        return list(chain(_silence(self), _failures(self), _dispatches(self), _rejected(self), _secrets(self)))


def statuses() -> list[AccountStatus]:
    """Of every account that is configured or has something stored, the configured ones first."""
    now = timezone.now()
    collected, accounts = figures.collect(now), app_settings.accounts
    silent = _silent_accounts({alias: collected[alias] for alias in accounts}, now)
    return [
        AccountStatus(alias, accounts.get(alias), collected[alias], alias in silent)
        for alias in [*accounts, *sorted(collected.keys() - accounts.keys())]
    ]


def _silent_accounts(collected: dict[str, Figures], now: datetime) -> set[str]:
    pauses = {alias: now - found.last_callback for alias, found in collected.items() if found.last_callback}
    long = {alias: pause for alias, pause in pauses.items() if pause > _SHORTEST_SILENCE}
    unsure = [collected[alias].newest for alias, pause in long.items() if pause <= _LONGEST_SILENCE]
    days = figures.days_with_events(filter(None, unsure))
    return {alias for alias, pause in long.items() if pause > _usual_silence(days.get(alias, []))}


def _usual_silence(days_with_events: list[int]) -> timedelta:
    pauses = [later - earlier - 1 for earlier, later in pairwise(days_with_events)]
    return max(_SHORTEST_SILENCE, 2 * max(pauses) * DAY) if pauses else USUAL_DAYS * DAY


def _command(name: str, *options: str) -> str:
    return shlex.join(["python", "manage.py", name, *options])


def _registering(account: AccountStatus, *options: str) -> str:
    """The command that registers the account's URL again, for those webhooks that were registered last."""
    webhooks = [registration.webhook for registration in account.figures.registrations]
    if {MESSAGE_STATUS_WEBHOOK, "messageStatus"}.intersection(webhooks):
        options = ("--with-status", *options)
    if webhooks and webhooks[-1] in UPDATE_WEBHOOKS_KEYS:
        options = ("--api", "update-webhooks", *options)
    return _command("plugchat_set_webhook", "--account", account.alias, *options)


def _silence(account: AccountStatus) -> Iterator[Finding]:
    if account.configured is None:
        return
    last, registered = account.figures.last_callback, account.figures.registered_at
    waiting = _registering(account, "--wait", "60")
    since = {"when": times.shown(registered)} if registered else {}
    if last is None and registered:
        text = gettext("PlugChat has never called this account (registered on %(when)s).") % since
        yield Finding("never_called", text, waiting)
    elif last is None:
        text = gettext("PlugChat has never called this account. This site has not registered its URL.")
        yield Finding("never_called", text, waiting)
    elif registered and last < registered < timezone.now() - _JUST_REGISTERED:
        text = gettext("No callback has come since this site registered its URL (on %(when)s).") % since
        yield Finding("silent_since_registered", text, waiting)
    elif account.is_silent:
        text = gettext("No callback has come for longer than usual. Is the webhook still registered?")
        yield Finding("silent", text, waiting)


def _failures(account: AccountStatus) -> Iterator[Finding]:
    failed, deliveries = account.figures.failures.total(), account.figures.deliveries
    if deliveries < _FAILURES_OF or failed * 2 <= deliveries:
        return
    text = gettext("%(failed)d of %(deliveries)d messages were not sent.") % {
        "failed": failed,
        "deliveries": deliveries,
    }
    yield Finding("failures", f"{text} {figures.commonest_failure(account.figures)}")


def _dispatches(account: AccountStatus) -> Iterator[Finding]:
    found = account.figures
    if found.overdue:
        text = ngettext(
            "%(count)d event should have reached your code long ago. Does plugchat_redispatch run every minute?",
            "%(count)d events should have reached your code long ago. Does plugchat_redispatch run every minute?",
            found.overdue,
        )
        yield Finding("overdue", text % {"count": found.overdue}, _command("plugchat_redispatch"))
    if found.waiting_long:
        text = ngettext(
            "%(count)d event has waited in the queue for over an hour. Do its workers run?",
            "%(count)d events have waited in the queue for over an hour. Do its workers run?",
            found.waiting_long,
        )
        yield Finding("waiting", text % {"count": found.waiting_long})
    if exhausted := found.dispatches[_Dispatch.EXHAUSTED]:
        text = ngettext(
            "Your code failed for %(count)d event, which was given up. The admin says which receiver raised what; "
            "dispatch it again there when that is mended.",
            "Your code failed for %(count)d events, which were given up. The admin says which receiver raised what; "
            "dispatch them again there when that is mended.",
            exhausted,
        )
        yield Finding("exhausted", text % {"count": exhausted})
    if found.raised and found.next_retry_at:
        text = ngettext(
            "Your code failed for %(count)d event, which is tried again (first on %(when)s). The admin says which "
            "receiver raised what. When that is mended, you need not wait.",
            "Your code failed for %(count)d events, which are tried again (first on %(when)s). The admin says which "
            "receiver raised what. When that is mended, you need not wait.",
            found.raised,
        )
        values = {"count": found.raised, "when": times.shown(found.next_retry_at)}
        yield Finding("retrying", text % values, _command("plugchat_redispatch", "--now"))
    if found.first_none and dispatch.has_receivers():
        text = ngettext(
            "%(count)d event came while none of your receivers was connected. Import them in an AppConfig.ready(), "
            "then hand over what they missed.",
            "%(count)d events came while none of your receivers was connected. Import them in an AppConfig.ready(), "
            "then hand over what they missed.",
            found.none_lately,
        )
        since = times.local(found.first_none).date().isoformat()
        yield Finding(
            "no_receiver",
            text % {"count": found.none_lately},
            _command("plugchat_redispatch", "--include-none", "--since", since),
        )


def _rejected(account: AccountStatus) -> Iterator[Finding]:
    found = account.figures
    if found.rejected_lately:
        text = ngettext(
            "%(count)d callback was rejected. The admin says why, and what to do.",
            "%(count)d callbacks were rejected. The admin says why, and what to do.",
            found.rejected_lately,
        )
        yield Finding("rejected", text % {"count": found.rejected_lately})
    if 0 < app_settings.max_rejected <= found.rejected_kept:
        text = gettext(
            "No more rejected callbacks are kept: there are as many as MAX_REJECTED allows, and new ones are lost. "
            "Replay or delete them in the admin."
        )
        yield Finding("rejected_full", text)


def _secrets(account: AccountStatus) -> Iterator[Finding]:
    if any(secret.is_retiring for secret in account.other_secrets):
        text = gettext("PlugChat still calls with a retiring secret. Register the first one.")
        yield Finding("retiring_secret", text, _registering(account))
    if not all(secret.is_retiring for secret in account.other_secrets):
        text = gettext(
            "PlugChat called with a secret that is no longer configured. If it still does, its callbacks are lost."
        )
        yield Finding("unknown_secret", text, _registering(account) if account.configured else "")
