from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_plugchat.status import RULES, AccountStatus, OtherSecret, statuses


class Command(BaseCommand):
    help = "Say how each account is doing. Fails when something needs a person, so that a monitor can run it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json", help="For programs: JSON, and nothing else.")

    def handle(self, *, as_json: bool, **options: Any) -> None:
        found = statuses()
        problems = sum(len(of.problems) for of in found)
        if as_json:
            report = {
                "checked_at": timezone.now().isoformat(),
                "ok": not problems,
                "accounts": [_as_json(of) for of in found],
            }
            self.stdout.write(json.dumps(report, indent=2, ensure_ascii=False))
        else:
            self.stdout.write("\n\n".join("\n".join(_lines(of)) for of in found) or _("PLUGCHAT has no account."))
        if problems:
            raise CommandError(
                ngettext("%(count)d thing needs a person.", "%(count)d things need a person.", problems)
                % {"count": problems}
            )


def _as_json(of: AccountStatus) -> dict[str, Any]:
    return {
        "account": of.account,
        "label": of.label,
        "configured": of.is_configured,
        "last_callback": of.last_callback and of.last_callback.isoformat(),
        "last_24_hours": {
            "received": of.received,
            "failed": of.failed,
            "none": of.unheard_lately,
            "rejected": of.rejected,
        },
        "dispatch": {"due": of.due, "overdue": of.overdue, "exhausted": of.exhausted, "none": of.unheard},
        "rejected": of.rejected_kept,
        "other_secrets": [
            {
                "secret_id": secret.secret_id,
                "state": "retiring" if secret.is_retiring else "unknown",
                "last_seen": secret.last_seen.isoformat(),
            }
            for secret in of.other_secrets
        ],
        "problems": of.problems,
    }


def _lines(of: AccountStatus) -> Iterator[str]:
    name = of.account if of.label == of.account else f"{of.label} ({of.account})"
    yield name if of.is_configured else _("%(account)s, no longer configured") % {"account": name}
    yield "  " + _("Last callback: %(when)s") % {"when": _when(of.last_callback) if of.last_callback else _("never")}
    yield "  " + _("In 24 hours: %(received)d received, %(failed)d of them not sent; %(rejected)d rejected") % {
        "received": of.received,
        "failed": of.failed,
        "rejected": of.rejected,
    }
    yield "  " + _("Dispatches: %(due)d due, %(exhausted)d exhausted, %(none)d without a receiver") % {
        "due": of.due,
        "exhausted": of.exhausted,
        "none": of.unheard,
    }
    yield "  " + _("Rejected callbacks kept: %(count)d") % {"count": of.rejected_kept}
    for secret in of.other_secrets:
        yield "  " + _secret(secret)
    for problem in of.problems:
        _applies, meaning = RULES[problem]
        yield f"! {problem}: {meaning}"


def _secret(secret: OtherSecret) -> str:
    values = {"secret_id": secret.secret_id, "when": _when(secret.last_seen)}
    if secret.is_retiring:
        return _("Retiring secret in use: %(secret_id)s, last %(when)s") % values
    return _("Unknown secret in use: %(secret_id)s, last %(when)s") % values


def _when(moment: datetime) -> str:
    return date_format(timezone.localtime(moment) if timezone.is_aware(moment) else moment, "SHORT_DATETIME_FORMAT")
