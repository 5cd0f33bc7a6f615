"""Who is told of what needs a person: once when it begins, and once when it is over."""

import socket
from collections.abc import Callable, Collection
from functools import partial
from urllib.parse import urlsplit

from django.core.mail import EmailMessage
from django.core.validators import URLValidator, validate_email
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.debug import sensitive_variables

from django_plugchat import statements
from django_plugchat.conf import app_settings, digest_of
from django_plugchat.models import Notice
from django_plugchat.phones.numbers import mask_numbers
from django_plugchat.registering.exchange import exchange
from django_plugchat.upkeep.findings import AccountStatus, Finding

#: Of what is about a host, in place of an account. Other hosts can't say that it is over.
_HOST = "@"
_MOST_LINES = 50

#: What has begun, and what is over, since a target was told last.
_Change = tuple[list[Notice], list[Notice]]


class NotTold(Exception):  # noqa: N818
    """A target could not be told. Says why without its path or mailbox, which may be confidential."""


def check(target: str) -> None:
    """Raises ValidationError unless it is an e-mail address or an HTTPS URL."""
    validate: Callable[[str], None] = URLValidator(schemes=["https"]) if "://" in target else validate_email
    validate(target)


@sensitive_variables()
def tell(target: str, accounts: list[AccountStatus], of_this_host: list[Finding], only: str = "") -> None:
    """Tell what is new and what is over since last time; ``only`` is the one account looked at. Raises NotTold."""
    host = f"{_HOST}{socket.gethostname()}"[:100]
    names = {account.alias: account.name for account in accounts}
    found = {(account.alias, finding.name): finding for account in accounts for finding in account.findings}
    found |= {(host, finding.name): finding for finding in of_this_host}
    notices = Notice.objects.for_writing()
    # Reserved before it is told, so that of several hosts one tells it.
    reserve = partial(_reserve, digest_of(target), found.keys(), host, only)
    begun, over = statements.trying_again(notices.db, reserve)
    if not begun and not over:
        return
    new = []
    for notice in begun:
        finding = found[notice.account, notice.finding]
        command = finding.command.replace(notice.account, mask_numbers(notice.account))
        lines = (f"{_about(names, notice)}. {finding.text}", command, finding.link)
        new.append("\n  ".join(filter(None, lines)))
    try:
        _send(target, new, [_about(names, notice) for notice in over])
    except BaseException as error:
        notices.filter(pk__in=[notice.pk for notice in begun]).delete()
        notices.bulk_create(over, ignore_conflicts=True)
        if not isinstance(error, Exception):
            raise
        # Only our own text is sure not to quote the target.
        reason = str(error) if isinstance(error, NotTold) else type(error).__name__
        where = urlsplit(target).hostname or target.rpartition("@")[2]
        text = gettext("%(target)s could not be told (%(reason)s). It will be tried again.")
        raise NotTold(text % {"target": where, "reason": reason}) from None


def _reserve(target: str, found: Collection[tuple[str, str]], host: str, only: str) -> _Change:
    told = Notice.objects.for_writing().filter(target=target).order_by("account", "pk")
    with transaction.atomic(using=told.db):
        now, known = timezone.now(), {(notice.account, notice.finding): notice for notice in told}
        new = sorted(found - known.keys())
        rows = [Notice(target=target, account=account, finding=name, told_at=now) for account, name in new]
        told.bulk_create(rows, ignore_conflicts=True)
        # One that another host has told of meanwhile has another moment.
        begun = list(told.filter(told_at=now))
        over = []
        for (account, name), notice in known.items():
            is_looked_at = only in ("", account) and (account == host or not account.startswith(_HOST))
            # Of two hosts that see its end, the one that deletes the row tells it.
            if is_looked_at and (account, name) not in found and notice.delete()[0]:
                over.append(notice)
    return begun, over


def _about(names: dict[str, str], notice: Notice) -> str:
    name = names.get(notice.account, notice.account.removeprefix(_HOST))
    return f"- {mask_numbers(name)}: {notice.finding}"


def _send(target: str, begun: list[str], over: list[str]) -> None:
    site = urlsplit(app_settings.public_url).hostname or socket.gethostname()
    subject = gettext("PlugChat at %(site)s: %(begun)d new, %(over)d over")
    subject %= {"site": site, "begun": len(begun), "over": len(over)}
    parts = []
    for title, lines in ((gettext("Needs a person:"), begun), (gettext("Over:"), over)):
        if lines:
            parts.append("\n".join([title, *lines[:_MOST_LINES]]))
        if (left_out := len(lines) - _MOST_LINES) > 0:
            parts.append(gettext("… and %(count)d more: plugchat_status --problems") % {"count": left_out})
    text = "\n\n".join(parts)
    if "://" not in target:
        EmailMessage(subject, text, to=[target]).send()
        return
    answer = exchange("POST", target, timeout=app_settings.api_timeout, json={"text": f"{subject}\n\n{text}"})
    if answer.trouble:
        raise NotTold(answer.reason)
    if not 200 <= answer.status < 300:
        raise NotTold(f"HTTP {answer.status}")
