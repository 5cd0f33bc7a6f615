from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from django_plugchat import spool
from django_plugchat.models import DeliveryEvent
from django_plugchat.upkeep import notify, prometheus
from django_plugchat.upkeep.figures import describe
from django_plugchat.upkeep.findings import AccountStatus, Finding, of_this_host, statuses

_Outcome = DeliveryEvent.Outcome


class Command(BaseCommand):
    help = gettext_noop(
        "Say how each account is doing. Exits with 1 when something needs a person, so that a monitor can run it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.description = _(self.help)
        parser.add_argument("--account", metavar="NAME", default="", help=_("This account alone."))
        parser.add_argument("--problems", action="store_true", help=_("Only accounts that need a person."))
        formats = parser.add_mutually_exclusive_group()
        formats.add_argument(
            "--json", action="store_true", dest="as_json", help=_("For programs: JSON, and nothing else.")
        )
        formats.add_argument(
            "--prometheus",
            action="store_true",
            dest="as_metrics",
            help=_("For the textfile collector of Prometheus, and nothing else."),
        )
        parser.add_argument(
            "--notify",
            action="append",
            default=[],
            metavar="TARGET",
            dest="targets",
            help=_(
                "Tell an e-mail address, or an HTTPS URL that takes JSON with a text, what is new and what is over "
                "since it was told last. May be given several times."
            ),
        )

    def handle(
        self, *, account: str, problems: bool, as_json: bool, as_metrics: bool, targets: list[str], **options: Any
    ) -> None:
        for target in targets:
            try:
                notify.check(target)
            except ValidationError:
                raise CommandError(_("--notify takes an e-mail address or a URL that begins with https://.")) from None
        found, host = statuses([account] if account else None), of_this_host()
        if account and not found:
            raise CommandError(_("No account is named %(account)s.") % {"account": account})
        shown = [each for each in found if each.findings or not problems]
        if as_json:
            self.stdout.write(_report(shown, host))
        elif as_metrics:
            self.stdout.write(prometheus.render(shown, host), ending="")
        else:
            self.stdout.write(_text(shown, host, has_accounts=bool(found)))
        failures = list(filter(None, (_failure(target, found, host, account) for target in targets)))
        findings = len(host) + sum(len(each.findings) for each in found)
        if findings:
            failures.append(
                ngettext("%(count)d thing needs a person.", "%(count)d things need a person.", findings)
                % {"count": findings}
            )
        if failures:
            raise CommandError("\n".join(failures))


def _failure(target: str, found: list[AccountStatus], host: list[Finding], account: str) -> str:
    """Tell a target; what went wrong, without its path or mailbox, which may be confidential."""
    try:
        notify.tell(target, found, host, only=account)
    except notify.NotTold as error:
        where = urlsplit(target).hostname or target.rpartition("@")[2]
        return _("%(target)s could not be told (%(reason)s). It will be tried again.") % {
            "target": where,
            "reason": error,
        }
    return ""


def _report(accounts: list[AccountStatus], host: list[Finding]) -> str:
    waiting, since = spool.waiting()
    report = {
        "checked_at": timezone.now().isoformat(),
        "ok": not host and not any(account.findings for account in accounts),
        "spool": {"waiting": waiting, "since": _iso(since), "set_aside": spool.set_aside()},
        "findings": [_finding(finding) for finding in host],
        "accounts": [_as_json(account) for account in accounts],
    }
    return json.dumps(report, indent=2, ensure_ascii=False)


def _as_json(account: AccountStatus) -> dict[str, Any]:
    found, counts = account.figures, account.figures.counts
    return {
        "account": account.alias,
        "label": account.label,
        "configured": account.configured is not None,
        "last_callback": _iso(found.last_callback),
        "connections": [
            {"connected": each.is_connected, "since": each.since.isoformat()} for each in found.connections
        ],
        "last_24_hours": {
            # What delivery callbacks say, and what statuses do: the two are never added.
            **{outcome: found.deliveries[outcome] for outcome in (_Outcome.SENT, _Outcome.FAILED)},
            **{outcome: found.statuses[outcome] for outcome in (_Outcome.RECEIVED, _Outcome.READ, _Outcome.PLAYED)},
            "deliveries": found.deliveries.total(),
            "statuses": found.statuses.total(),
            "failures": dict(found.failures.most_common()),
            "none": counts["none"],
            "rejected": counts["rejected_lately"],
            "unknown_statuses": counts["unknown_lately"],
        },
        "dispatch": {
            **{
                name: counts[name] for name in ("pending", "running", "retrying", "exhausted", "none", "due", "overdue")
            },
            "next_retry_at": _iso(found.next_retry_at),
        },
        "rejected": counts["rejected"],
        "unknown_statuses": counts["unknown"],
        "registrations": [
            {
                "webhook": registration.webhook,
                "secret_id": registration.secret_id,
                "registered_at": registration.registered_at.isoformat(),
                "last_call": _iso(found.last_call(registration)),
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
        "findings": [_finding(finding) for finding in account.findings],
    }


def _finding(finding: Finding) -> dict[str, str]:
    return {**finding._asdict(), "link": finding.link}


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _text(accounts: list[AccountStatus], host: list[Finding], *, has_accounts: bool) -> str:
    blocks = ["\n".join(_lines(account)) for account in accounts]
    if host:
        blocks.insert(0, "\n".join([_("This host"), *chain.from_iterable(map(_finding_lines, host))]))
    nothing = _("Nothing needs a person.") if has_accounts else _("No account is configured.")
    return "\n\n".join(blocks) or nothing


def _lines(account: AccountStatus) -> Iterator[str]:
    yield account.name if account.configured else _("%(account)s, no longer configured") % {"account": account.name}
    for line in chain(describe(account.figures), map(str, account.other_secrets)):
        yield f"  {line}"
    for finding in account.findings:
        yield from _finding_lines(finding)


def _finding_lines(finding: Finding) -> Iterator[str]:
    yield f"! {finding.name}: {finding.text}"
    yield f"    {finding.command or finding.link}"
