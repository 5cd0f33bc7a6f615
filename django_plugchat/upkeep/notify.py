"""Who is told of what needs a person: once when it begins, and once when it is over."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

from django.core.mail import EmailMessage
from django.core.validators import URLValidator, validate_email
from django.db import router, transaction
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.debug import sensitive_variables

from django_plugchat import statements
from django_plugchat.conf import app_settings, digest_of
from django_plugchat.models import Notice
from django_plugchat.phones.numbers import MASK
from django_plugchat.registering.exchange import exchange
from django_plugchat.upkeep.findings import AccountStatus, Finding

#: Of what is about a host, in place of an account. Other hosts can't say that it is over.
_HOST = "@"
_MOST_LINES = 50
#: Some name their accounts by their numbers.
_NUMBER = re.compile(r"\d(?:[ ().+-]*\d){6,}")


class NotTold(Exception):  # noqa: N818
    """A target could not be told. Says why without its address, which may hold a secret."""


class _Change(NamedTuple):
    begun: list[Notice]
    over: list[Notice]


def check(target: str) -> None:
    """Raises ValidationError unless it is an e-mail address or an HTTPS URL."""
    validate: Callable[[str], None] = URLValidator(schemes=["https"]) if "://" in target else validate_email
    validate(target)


@sensitive_variables()
def tell(target: str, accounts: Iterable[AccountStatus], of_this_host: Iterable[Finding], only: str = "") -> bool:
    """Tell what has begun and what is over since the target was told last; returns whether anything has.

    ``only`` is the one account that was looked at, where it was not all. Raises NotTold.
    """
    host = f"{_HOST}{socket.gethostname()}"[:100]
    names, found = {host: host.removeprefix(_HOST)}, {(host, finding.name): finding for finding in of_this_host}
    for account in accounts:
        names[account.alias] = account.name
        found.update({(account.alias, finding.name): finding for finding in account.findings})
    alias, digest = router.db_for_write(Notice), digest_of(target)
    # Reserved before it is told, so that of several hosts one tells it.
    reserve = transaction.atomic(using=alias)(partial(_reserve, alias, digest, found.keys(), host, only))
    change: _Change = statements.trying_again(alias, reserve)
    if not any(change):
        return False
    begun = [_line(names, notice, found[notice.account, notice.finding]) for notice in change.begun]
    is_told = False
    try:
        _send(target, begun, [_line(names, notice) for notice in change.over])
        is_told = True
    except NotTold:
        raise
    except Exception as error:
        # Its text may quote the target.
        raise NotTold(type(error).__name__) from None
    finally:
        if not is_told:
            statements.trying_again(alias, transaction.atomic(using=alias)(partial(_release, alias, change)))
    return True


def _reserve(alias: str, target: str, found: Collection[tuple[str, str]], host: str, only: str) -> _Change:
    rows, now = Notice.objects.using(alias).filter(target=target), timezone.now()
    told = {(notice.account, notice.finding): notice.pk for notice in rows}
    new = [Notice(target=target, account=key[0], finding=key[1], told_at=now) for key in sorted(found - told.keys())]
    rows.bulk_create(new, ignore_conflicts=True)
    # One that another host has told of meanwhile has another moment.
    begun = list(rows.filter(told_at=now).order_by("account", "pk"))
    over = [
        pk
        for (account, finding), pk in told.items()
        if (account, finding) not in found
        and (account == host or not account.startswith(_HOST))
        and only in ("", account)
    ]
    gone = list(rows.select_for_update().filter(pk__in=over).order_by("account", "pk"))
    rows.filter(pk__in=[notice.pk for notice in gone]).delete()
    return _Change(begun, gone)


def _release(alias: str, change: _Change) -> None:
    rows = Notice.objects.using(alias)
    rows.filter(pk__in=[notice.pk for notice in change.begun]).delete()
    rows.bulk_create(change.over, ignore_conflicts=True)


def _line(names: dict[str, str], notice: Notice, finding: Finding | None = None) -> str:
    name = _NUMBER.sub(MASK, names.get(notice.account, notice.account))
    if finding is None:
        return f"- {name}: {notice.finding}"
    where = finding.command.replace(notice.account, _NUMBER.sub(MASK, notice.account)) or finding.link
    return f"- {name}: {finding.name}. {finding.text}\n  {where}"


def _send(target: str, begun: list[str], over: list[str]) -> None:
    site = urlsplit(app_settings.public_url).hostname or socket.gethostname()
    subject = gettext("PlugChat at %(site)s: %(begun)d new, %(over)d over") % {
        "site": site,
        "begun": len(begun),
        "over": len(over),
    }
    parts = []
    for title, lines in ((gettext("Needs a person:"), begun), (gettext("Over:"), over)):
        left_out = len(lines) - _MOST_LINES
        more = [gettext("… and %(count)d more: plugchat_status --problems") % {"count": left_out}]
        if lines:
            parts.append("\n".join([title, *lines[:_MOST_LINES], *(more if left_out > 0 else [])]))
    text = "\n\n".join(parts)
    if "://" not in target:
        EmailMessage(subject, text, to=[target]).send()
        return
    answer = exchange("POST", target, timeout=app_settings.api_timeout, json={"text": f"{subject}\n\n{text}"})
    if not 200 <= answer.status < 300:
        raise NotTold(f"HTTP {answer.status}")
