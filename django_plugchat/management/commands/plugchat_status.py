from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from django_plugchat.models import DeliveryEvent
from django_plugchat.upkeep.figures import describe
from django_plugchat.upkeep.findings import AccountStatus, statuses

_Dispatch = DeliveryEvent.DispatchStatus


class Command(BaseCommand):
    help = gettext_noop(
        "Say how each account is doing. Exits with 1 when something needs a person, so that a monitor can run it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.description = _(self.help)
        parser.add_argument(
            "--json", action="store_true", dest="as_json", help=_("For programs: JSON, and nothing else.")
        )

    def handle(self, *, as_json: bool, **options: Any) -> None:
        found = statuses()
        findings = sum(len(account.findings) for account in found)
        if as_json:
            report = {
                "checked_at": timezone.now().isoformat(),
                "ok": not findings,
                "accounts": [_as_json(account) for account in found],
            }
            self.stdout.write(json.dumps(report, indent=2, ensure_ascii=False))
        else:
            texts = ("\n".join(_lines(account)) for account in found)
            self.stdout.write("\n\n".join(texts) or _("No account is configured."))
        if findings:
            raise CommandError(
                ngettext("%(count)d thing needs a person.", "%(count)d things need a person.", findings)
                % {"count": findings}
            )


def _as_json(account: AccountStatus) -> dict[str, Any]:
    found = account.figures
    return {
        "account": account.alias,
        "label": account.label,
        "configured": account.configured is not None,
        "last_callback": _iso(found.last_callback),
        "last_24_hours": {
            **{outcome: found.outcomes[outcome] for outcome in DeliveryEvent.Outcome.values},
            "deliveries": found.deliveries,
            "failures": dict(found.failures.most_common()),
            "none": found.none_lately,
            "rejected": found.rejected_lately,
        },
        "dispatch": {
            **{
                status: found.dispatches[status]
                for status in (_Dispatch.PENDING, _Dispatch.RUNNING, _Dispatch.RETRYING, _Dispatch.EXHAUSTED)
            },
            "none": found.dispatches[_Dispatch.NONE],
            "due": found.due,
            "overdue": found.overdue,
            "next_retry_at": _iso(found.next_retry_at),
        },
        "rejected": found.rejected_kept,
        "registrations": [
            {
                "webhook": registration.webhook,
                "secret_id": registration.secret_id,
                "registered_at": registration.registered_at.isoformat(),
            }
            for registration in found.registrations
        ],
        "other_secrets": [
            {
                "secret_id": secret.secret_id,
                "state": "retiring" if secret.is_retiring else "unknown",
                "last_seen": secret.last_seen.isoformat(),
            }
            for secret in account.other_secrets
        ],
        "problems": [finding.name for finding in account.findings],
        "findings": [finding._asdict() for finding in account.findings],
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _lines(account: AccountStatus) -> Iterator[str]:
    yield account.name if account.configured else _("%(account)s, no longer configured") % {"account": account.name}
    for line in chain(describe(account.figures), map(str, account.other_secrets)):
        yield f"  {line}"
    for finding in account.findings:
        yield f"! {finding.name}: {finding.text}"
        if finding.command:
            yield f"    {finding.command}"
