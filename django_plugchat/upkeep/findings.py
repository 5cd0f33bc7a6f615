"""What needs a person, by rules that docs/howto/monitoring.md explains. Tells no secret and no phone number."""

import shlex
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connections, router
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import get_language, gettext, gettext_lazy as _

from django_plugchat import accounts, conf, dispatch, spool, times
from django_plugchat.conf import app_settings
from django_plugchat.models import Account, Connection, DeliveryEvent
from django_plugchat.phones.numbers import mask_id
from django_plugchat.provider.callbacks import MESSAGE_STATUS_CALLBACK
from django_plugchat.provider.calls import CONNECTION_WEBHOOKS, DISCONNECTION_KEY, TYPE_OF_WEBHOOK, UPDATE_WEBHOOKS_KEYS
from django_plugchat.upkeep.figures import DAY, ENOUGH_MESSAGES, HOUR, Figures, collect

_REDISPATCH = "python manage.py plugchat_redispatch"
_RUNBOOK = "https://github.com/django-plugchat/django-plugchat/blob/main/docs/{}howto/monitoring.md#{}"
#: Seconds since the epoch, by the database's clock. SQLite has this host's.
CLOCKS = {"postgresql": "EXTRACT(EPOCH FROM CLOCK_TIMESTAMP())", "mysql": "UNIX_TIMESTAMP(NOW(6))"}
#: plugchat_redispatch, which takes the spool over, runs every minute.
_SOON_TAKEN = timedelta(minutes=5)
#: What was on its way when an instance was disconnected may come a little later.
_ON_ITS_WAY = timedelta(minutes=5)

#: What each finding says. The runbook has what to do.
TEXTS = {
    "never_called": _("PlugChat has never called this account (%(registered)s)."),
    "silent_since_registered": _("No callback has come since this site registered its URL (on %(when)s)."),
    "silent": _("No callback has come lately (the last one on %(when)s). Is the webhook still registered?"),
    "disconnected": _("Disconnected from WhatsApp (since %(when)s). Connect it again in the provider's panel."),
    "other_instance": _("Callbacks of an instance that is not the account's INSTANCE came: %(instances)s."),
    "statuses_silent": _("No status has come of what is sent since this site registered for them (on %(when)s)."),
    "failures": _("%(failed)d of %(deliveries)d messages were not sent. %(why)s"),
    "undelivered": _("Received: %(share)d%% of the %(sent)d messages of a day; in the two weeks before, %(usual)d%%."),
    "overdue": _("Events that should have reached your code long ago: %(count)d. Does plugchat_redispatch run?"),
    "waiting": _("Events that have waited in the queue for over an hour: %(count)d. Do its workers run?"),
    "exhausted": _("Events that your code failed for and that were given up: %(count)d."),
    "retrying": _("Events that your code failed for and that are tried again: %(count)d (the first on %(when)s)."),
    "no_receiver": _("Events without a receiver: %(count)d. Import your receivers in an AppConfig.ready() first."),
    "rejected": _("Callbacks that were rejected: %(count)d. The admin says why, and what to do."),
    "rejected_full": _("As many rejected callbacks are kept as MAX_REJECTED allows, and new ones are lost."),
    "unknown_status": _("Callbacks with a status that this version does not know: %(count)d. Update django-plugchat."),
    "retiring_secret": _("PlugChat still calls with a retiring secret. Register the first one."),
    "unknown_secret": _("PlugChat called with a secret that is no longer configured. What still comes by it is lost."),
    "clocks": _("The clocks of this host and of the database differ by %(seconds)d seconds. Let NTP set both."),
}


class Finding(NamedTuple):
    """Something that needs a person."""

    name: str
    text: str
    #: What to run, as it can be pasted into a shell; "" where the admin is the place to go.
    command: str = ""

    @property
    def link(self) -> str:
        """Of its section in the runbook, in the active language."""
        return _RUNBOOK.format("pt-br/" if (get_language() or "").startswith("pt") else "", self.name)


class OtherSecret(NamedTuple):
    """One that is not the account's first, seen of late."""

    secret_id: str
    #: "retiring" while it is accepted; else "unknown".
    state: str
    last_seen: datetime

    def __str__(self) -> str:
        text = gettext("Unknown secret in use: %(secret_id)s, last %(when)s")
        if self.state == "retiring":
            text = gettext("Retiring secret in use: %(secret_id)s, last %(when)s")
        return text % {"secret_id": self.secret_id, "when": times.shown(self.last_seen)}


@dataclass(frozen=True)
class AccountStatus:
    alias: str
    figures: Figures
    #: None when the account is no longer configured, or no longer active.
    configured: conf.Account | None
    #: The one that is to be registered first.
    secret_ids: Sequence[str]
    #: Whether it was added to the database within the hour.
    is_new: bool

    @property
    def label(self) -> str:
        return accounts.label(self.alias)

    @property
    def name(self) -> str:
        """For people: the label, and the alias where that is another."""
        return self.alias if self.label == self.alias else f"{self.label} ({self.alias})"

    @property
    def other_secrets(self) -> list[OtherSecret]:
        return [
            OtherSecret(seen, "retiring" if seen in self.secret_ids else "unknown", moment)
            for seen, moment in sorted(self.figures.last_by_secret.items())
            if seen not in self.secret_ids[:1]
        ]

    @cached_property
    def findings(self) -> list[Finding]:
        channel = _channel(self, self.configured, timezone.now()) if self.configured else ()
        return [*channel, *_counted(self)]


def statuses(aliases: Collection[str] | None = None) -> list[AccountStatus]:
    """Of every account that is configured or has something stored, or of the named ones; the configured ones first."""
    now = timezone.now()
    collected, configured, secret_ids = collect(now, aliases), accounts.all_accounts(), accounts.secret_ids()
    new = set(Account.objects.for_writing().filter(created_at__gt=now - HOUR).values_list("alias", flat=True))
    return [
        AccountStatus(alias, collected[alias], configured.get(alias), secret_ids.get(alias, []), alias in new)
        for alias in [*configured, *sorted(collected.keys() - configured.keys())]
        if aliases is None or alias in aliases
    ]


def _finding(name: str, command: str = "", **values: Any) -> Finding:
    return Finding(name, TEXTS[name] % values, command)


def _channel(account: AccountStatus, configured: conf.Account, now: datetime) -> Iterator[Finding]:
    """Whether PlugChat calls, and whether WhatsApp takes what it is given."""
    found, register = account.figures, _registering(account)
    last = found.last_callback
    registered = found.registrations[-1].registered_at if found.registrations else None
    is_given_time = account.is_new or (registered and registered > now - HOUR)
    if last is None and not is_given_time:
        yield _finding("never_called", register, registered=found.registered_text)
    elif last and registered and last < registered and not is_given_time:
        yield _finding("silent_since_registered", register, when=times.shown(registered))
    elif last and last < now - timedelta(hours=app_settings.silent_after_hours):
        yield _finding("silent", register, when=times.shown(last))
    mine = [each for each in found.connections if configured.instance in ("", each.instance_id)]
    if away := [each.since for each in mine if not each.is_connected and not _is_back(found, each)]:
        yield _finding("disconnected", when=times.shown(min(away)))
    if configured.instance and (others := sorted(found.instances - {"", configured.instance})):
        yield _finding("other_instance", instances=", ".join(map(mask_id, others)))
    asked = [each for each in found.registrations if TYPE_OF_WEBHOOK.get(each.webhook) == MESSAGE_STATUS_CALLBACK]
    has_waited = all(each.registered_at < now - DAY and found.last_call(each) is None for each in asked)
    if asked and has_waited and found.deliveries["sent"]:
        yield _finding("statuses_silent", register, when=times.shown(asked[-1].registered_at))
    share, usual = (100 * received / max(sent, 1) for sent, received in (found.day, found.usual))
    if found.usual[0] >= ENOUGH_MESSAGES and share * 2 < usual:
        yield _finding("undelivered", sent=found.day[0], share=share, usual=usual)


def _is_back(found: Figures, connection: Connection) -> bool:
    """Where nothing was registered that tells of a connection: whether messages went out since it was lost."""
    registered = {registration.webhook for registration in found.registrations}
    if DISCONNECTION_KEY not in registered or registered.intersection(CONNECTION_WEBHOOKS):
        return False
    return found.last_success is not None and found.last_success > connection.reported_at + _ON_ITS_WAY


def _counted(account: AccountStatus) -> Iterator[Finding]:
    """What became of messages, events, callbacks and secrets: also of an account that is no longer configured."""
    found, counts = account.figures, account.figures.counts
    failed, deliveries = found.failures.total(), found.deliveries.total()
    if deliveries >= ENOUGH_MESSAGES and failed * 2 > deliveries:
        yield _finding("failures", failed=failed, deliveries=deliveries, why=found.commonest_failure)
    if counts["none"] and dispatch.has_receivers():
        with timezone.override(None):  # which the command has
            since = times.local(timezone.now() - DAY).date().isoformat()
        command = f"{_REDISPATCH} --include-none --since {since}"
        yield _finding("no_receiver", command, count=counts["none"])
    states = {secret.state for secret in account.other_secrets}
    register = _registering(account) if account.configured else ""
    for name, count, command in (
        ("overdue", counts["overdue"], _REDISPATCH),
        ("waiting", counts["waiting"], ""),
        ("exhausted", counts["exhausted"], ""),
        ("retrying", counts["raised"], f"{_REDISPATCH} --now"),
        ("rejected", counts["rejected_lately"], ""),
        ("rejected_full", 0 < app_settings.max_rejected <= counts["rejected"], ""),
        ("unknown_status", counts["unknown_lately"], ""),
        ("retiring_secret", "retiring" in states, register),
        ("unknown_secret", "unknown" in states, register),
    ):
        if count:
            when = times.shown(found.next_retry_at) if found.next_retry_at else ""
            yield _finding(name, command, count=count, when=when)


def _registering(account: AccountStatus) -> str:
    """The command that registers the account's URL again, for those webhooks that were registered last."""
    webhooks = [registration.webhook for registration in account.figures.registrations]
    options = ["--account", account.alias]
    if webhooks and webhooks[-1] in UPDATE_WEBHOOKS_KEYS:
        options += ["--api", "update-webhooks"]
    if any(TYPE_OF_WEBHOOK.get(webhook) == MESSAGE_STATUS_CALLBACK for webhook in webhooks):
        options.append("--with-status")
    if not TYPE_OF_WEBHOOK.keys() >= {*webhooks}:
        options.append("--with-connection")
    return shlex.join(["python", "manage.py", "plugchat_set_webhook", *options, "--wait", "60"])


def of_this_host() -> list[Finding]:
    """What is about no account: this host's clock, and its spool."""
    found = []
    connection = connections[router.db_for_write(DeliveryEvent)]
    if clock := CLOCKS.get(connection.vendor):
        before = time.time()
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {clock}")
            there = float(cursor.fetchone()[0])
        # The database was asked at some moment between these.
        difference = abs(there - min(max(there, before), time.time()))
        if difference > app_settings.dispatch_lease / 10:
            found.append(_finding("clocks", seconds=difference))
    waiting, since, aside, *texts = spool.state()
    if since and since < timezone.now() - _SOON_TAKEN:
        text = gettext("Callbacks that wait in this host's spool: %(count)d, since %(when)s.")
        texts.append(text % {"count": waiting, "when": times.shown(since)})
    if aside:
        text = gettext("Files that were set aside in this host's spool: %(count)d. The log says why.")
        texts.append(text % {"count": aside})
    if any(texts):
        found.append(Finding("spooled", " ".join(filter(None, texts)), _REDISPATCH))
    return found
