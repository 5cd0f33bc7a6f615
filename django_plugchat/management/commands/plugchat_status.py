from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_plugchat import times
from django_plugchat.models import DeliveryEvent
from django_plugchat.status import AccountStatus, OtherSecret, commonest_failure, statuses

_Dispatch = DeliveryEvent.DispatchStatus


class Command(BaseCommand):
    help = gettext_lazy(  # type: ignore[assignment]
        "Say how each account is doing. Exits with 1 when something needs a person, so that a monitor can run it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
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
    found = account.figures
    yield account.name if account.configured else _("%(account)s, no longer configured") % {"account": account.name}
    yield "  " + _callbacks(account)
    yield "  " + _("In 24 hours: %(outcomes)s") % {"outcomes": _outcomes(account)}
    if failure := commonest_failure(account):
        yield "  " + failure
    yield "  " + _("Dispatches: %(dispatches)s") % {"dispatches": _dispatches(account)}
    if found.rejected_kept:
        yield "  " + _("Rejected callbacks: %(lately)d in 24 hours, %(kept)d kept") % {
            "lately": found.rejected_lately,
            "kept": found.rejected_kept,
        }
    for secret in account.other_secrets:
        yield "  " + _secret(secret)
    for finding in account.findings:
        yield f"! {finding.name}: {finding.text}"
        if finding.command:
            yield f"    {finding.command}"


def _callbacks(account: AccountStatus) -> str:
    last, registered = account.figures.last_callback, account.figures.registered_at
    heard = _("last callback %(ago)s ago") % {"ago": _ago(last)} if last else _("no callback yet")
    told = _("registered %(ago)s ago") % {"ago": _ago(registered)} if registered else _("not registered by this site")
    return f"{told}, {heard}"


def _ago(moment: datetime) -> str:
    return timesince(moment, depth=1).replace("\xa0", " ")


def _outcomes(account: AccountStatus) -> str:
    counted = account.figures.outcomes
    return ", ".join(f"{counted[outcome]} {outcome.label}" for outcome in DeliveryEvent.Outcome)


def _dispatches(account: AccountStatus) -> str:
    found = account.figures
    parts = [f"{count} {_Dispatch(status).label}" for status, count in found.dispatches.items() if count]
    if found.due:
        parts.append(_("%(count)d due") % {"count": found.due})
    if found.next_retry_at:
        parts.append(_("next attempt %(when)s") % {"when": times.shown(found.next_retry_at)})
    return ", ".join(parts) or _("nothing is waiting")


def _secret(secret: OtherSecret) -> str:
    values = {"secret_id": secret.secret_id, "when": times.shown(secret.last_seen)}
    if secret.is_retiring:
        return _("Retiring secret in use: %(secret_id)s, last %(when)s") % values
    return _("Unknown secret in use: %(secret_id)s, last %(when)s") % values
