import json
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.translation import gettext as _, gettext_noop, ngettext

from django_plugchat import spool
from django_plugchat.upkeep import notify, prometheus
from django_plugchat.upkeep.figures import describe
from django_plugchat.upkeep.findings import AccountStatus, Finding, of_this_host, statuses


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
        text = _("For the textfile collector of Prometheus, and nothing else.")
        formats.add_argument("--prometheus", action="store_true", dest="as_metrics", help=text)
        text = _("Tell an e-mail address, or an HTTPS URL that takes JSON with a text, what is new and what is over.")
        parser.add_argument("--notify", action="append", default=[], metavar="TARGET", dest="targets", help=text)

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
            nothing = _("Nothing needs a person.") if found else _("No account is configured.")
            self.stdout.write(_text(shown, host) or nothing)
        failures = []
        for target in targets:
            try:
                notify.tell(target, found, host, only=account)
            except notify.NotTold as error:
                failures.append(str(error))
        if findings := len(host) + sum(len(each.findings) for each in found):
            text = ngettext("%(count)d thing needs a person.", "%(count)d things need a person.", findings)
            failures.append(text % {"count": findings})
        if failures:
            raise CommandError("\n".join(failures))


def _report(accounts: list[AccountStatus], host: list[Finding]) -> str:
    kept = spool.state()
    report = {
        "checked_at": timezone.now(),
        "ok": not host and not any(account.findings for account in accounts),
        "spool": {"waiting": kept.waiting, "since": kept.since, "set_aside": kept.set_aside},
        "findings": _findings(host),
        "accounts": [_account(account) for account in accounts],
    }
    return json.dumps(report, indent=2, ensure_ascii=False, default=datetime.isoformat)


def _account(account: AccountStatus) -> dict[str, Any]:
    found, counts = account.figures, account.figures.counts
    states = ("pending", "running", "retrying", "exhausted", "none", "due", "overdue")
    registrations = [
        {name: getattr(each, name) for name in ("webhook", "secret_id", "registered_at")}
        | {"last_call": found.last_call(each)}
        for each in found.registrations
    ]
    return {
        "account": account.alias,
        "label": account.label,
        "configured": account.configured is not None,
        "last_callback": found.last_callback,
        "connections": [{"connected": each.is_connected, "since": each.since} for each in found.connections],
        "last_24_hours": {
            # What delivery callbacks say, and what statuses do: the two are never added.
            **{outcome: found.deliveries[outcome] for outcome in ("sent", "failed")},
            **{outcome: found.statuses[outcome] for outcome in ("received", "read", "played")},
            "deliveries": found.deliveries.total(),
            "statuses": found.statuses.total(),
            "failures": dict(found.failures.most_common()),
            "none": counts["none"],
            "rejected": counts["rejected_lately"],
            "unknown_statuses": counts["unknown_lately"],
        },
        "dispatch": {state: counts[state] for state in states} | {"next_retry_at": found.next_retry_at},
        "rejected": counts["rejected"],
        "unknown_statuses": counts["unknown"],
        "registrations": registrations,
        "other_secrets": [secret._asdict() for secret in account.other_secrets],
        "problems": [finding.name for finding in account.findings],
        "findings": _findings(account.findings),
    }


def _findings(findings: list[Finding]) -> list[dict[str, str]]:
    return [finding._asdict() | {"link": finding.link} for finding in findings]


def _text(accounts: list[AccountStatus], host: list[Finding]) -> str:
    blocks = [_block(_("This host"), [], host)] if host else []
    for account in accounts:
        name = account.name
        if not account.configured:
            name = _("%(account)s, no longer configured") % {"account": name}
        blocks.append(_block(name, [*describe(account.figures), *account.other_secrets], account.findings))
    return "\n\n".join(blocks)


def _block(name: str, facts: list[Any], findings: list[Finding]) -> str:
    lines = [name, *(f"  {fact}" for fact in facts)]
    for finding in findings:
        lines.append(f"! {finding.name}: {finding.text}")
        lines += [f"    {line}" for line in (finding.command, finding.link) if line]
    return "\n".join(lines)
