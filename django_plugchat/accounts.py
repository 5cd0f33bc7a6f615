"""Whose secret is this? Accounts are in the setting, which wins, or in the database, which has digests and no token."""

import math
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from django.core.exceptions import ValidationError
from django.db import Error, IntegrityError, router, transaction
from django.db.models import Subquery
from django.db.models.signals import post_delete, post_save
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from django_plugchat import conf, models
from django_plugchat.conf import PLUGCHAT, app_settings, digest_of
from django_plugchat.models import WebhookSecret

#: Seconds for which a process believes what it has read: how long a retired secret may go on working.
BELIEVED_FOR = 30


def caller(digest: str, run: Callable[..., Any] = lambda _database, read: read()) -> str | None:
    """Whose the secret of this digest is, by alias. Raises ``django.db.Error`` where that can't be looked up.

    A secret of the setting costs no statement, one of the database one read now and then, made by ``run`` with the
    alias of the database. While the database is away, secrets that this process has seen stay known.
    """
    return app_settings.callers.get(digest) or _memory.caller(digest, run)


def all_accounts() -> dict[str, conf.Account]:
    """By alias: those of the setting, then the active ones of the database. One statement."""
    rows = models.Account.objects.for_writing().filter(is_active=True).order_by("alias")
    return app_settings.accounts | {row.alias: described(row) for row in rows if row.alias not in app_settings.accounts}


def secret_ids() -> dict[str, list[str]]:
    """Of each account that ``all_accounts`` gives: the ids of its secrets, the one to register first. One statement."""
    ids: dict[str, list[str]] = {alias: [] for alias in app_settings.accounts}
    for digest, alias in app_settings.callers.items():
        ids[alias].append(digest[:8])
    rows = WebhookSecret.objects.for_writing().filter(account__is_active=True).order_by("-created_at", "-pk")
    for alias, secret_id in rows.values_list("account__alias", "secret_id"):
        own = ids.setdefault(alias, [])
        if secret_id not in own:
            own.append(secret_id)
    return ids


def label(alias: str) -> str:
    """What people read of an account, also of an inactive one or one that is no longer there."""
    configured = app_settings.accounts.get(alias)
    return str(configured.label) if configured else _memory.labels().get(alias, alias)


def labels() -> dict[str, str]:
    """By alias: of the setting's accounts, then of all of the database's. Read every 30 seconds."""
    configured = {alias: str(account.label) for alias, account in app_settings.accounts.items()}
    return configured | {alias: name for alias, name in _memory.labels().items() if alias not in configured}


def seen_by(user: Any) -> frozenset[str] | None:
    """The aliases that a user of the admin sees, as ``ADMIN_ACCOUNTS`` says; None for all. Nobody (None) sees none."""
    path = app_settings.admin_accounts
    if path is None:
        return None
    aliases = () if user is None else import_string(path)(user)
    if aliases is None:
        return None
    return frozenset([aliases] if isinstance(aliases, str) else aliases)


@sensitive_variables()
def with_token(account: conf.Account) -> conf.Account:
    """The account with what ``TOKEN_SOURCE`` says, where it has no token of its own. Raises ValueError."""
    path = app_settings.token_source
    if account.token or not path:
        return account
    try:
        given = import_string(path)(account.alias) or {}
        tokens = {"TOKEN": given} if isinstance(given, str) else {**given}
    except Exception as error:  # it may raise anything, with the token in its text
        values = {"alias": account.alias, "problem": type(error).__name__}
        raise ValueError(_("TOKEN_SOURCE failed for account %(alias)s: %(problem)s.") % values) from None
    client_token = str(tokens.get("CLIENT_TOKEN") or account.client_token)
    return replace(account, token=str(tokens.get("TOKEN") or ""), client_token=client_token)


def described(row: models.Account) -> conf.Account:
    """An account of the database as one of the setting is given."""
    return conf.Account(row.alias, row.label or row.alias, provider=row.provider, instance=row.instance)


def add(alias: str, label: str = "", provider: str = PLUGCHAT, instance: str = "") -> models.Account:
    """Raises ValueError."""
    row = models.Account(alias=alias, label=label, provider=provider, instance=instance)
    return _save(row, row.full_clean)


def new_secret(alias: str) -> str:
    """Make another secret for an account of the database, told this once; others go on working. Raises ValueError."""
    secret = secrets.token_urlsafe(32)
    _keep(digest_of(secret), _row(alias))
    return secret


def retire(alias: str, secret_id: str) -> None:
    """Refuse a secret of an account of the database, in every process within 30 seconds. Raises ValueError."""
    deleted, _by_model = WebhookSecret.objects.for_writing().filter(account=_row(alias), secret_id=secret_id).delete()
    if not deleted:
        raise ValueError(_("The account has no secret with this id."))


def move(alias: str) -> models.Account:
    """Copy an account of the setting, with its secrets, into the database. Raises ValueError.

    The setting's wins until it is taken out there. Its token stays where it is.
    """
    account = app_settings.accounts.get(alias)
    if account is None:
        raise ValueError(_("The settings have no account with this alias."))
    if account.api_url:
        raise ValueError(_("The account has an API_URL, which only an account of the settings can have."))
    label = "" if account.label == alias else str(account.label)
    row = models.Account(alias=alias, label=label, provider=account.provider, instance=account.instance)
    with transaction.atomic(using=router.db_for_write(models.Account)):
        # Not ``clean``: an account of the settings has this alias.
        _save(row, row.clean_fields, row.validate_constraints)
        # The first one last: the newest is the one to register.
        for secret in reversed(account.webhook_secrets):
            _keep(digest_of(secret), row)
    return row


def _save(row: models.Account, *checks: Callable[[], None]) -> models.Account:
    try:
        for check in checks:
            check()
        with transaction.atomic(using=router.db_for_write(models.Account)):
            row.save()
    except ValidationError as error:
        raise ValueError(" ".join(error.messages)) from None
    except IntegrityError:
        # Somebody was faster.
        raise ValueError(_("An account of the database has this alias.")) from None
    return row


def _row(alias: str) -> models.Account:
    row: models.Account | None = models.Account.objects.for_writing().filter(alias=alias).first()
    if row is None:
        raise ValueError(_("The database has no account with this alias."))
    return row


def _keep(digest: str, account: models.Account) -> None:
    WebhookSecret.objects.for_writing().create(account=account, digest=digest, secret_id=digest[:8])


class _Memory:
    """What this process has read of the database's accounts, and when. What was wrong is not kept: it has no end."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._callers: dict[str, tuple[str, float]] = {}
        self._labels: dict[str, str] = {}
        self._labels_read_at = self._empty_at = self._changed_at = -math.inf

    def changed(self, **kwargs: Any) -> None:
        """Read everything again: this process has written something."""
        self._changed_at = time.monotonic()

    def _is_fresh(self, read_at: float) -> bool:
        return read_at > max(time.monotonic() - BELIEVED_FOR, self._changed_at)

    def caller(self, digest: str, run: Callable[..., Any]) -> str | None:
        known, read_at = self._callers.get(digest, (None, -math.inf))
        if known and self._is_fresh(read_at):
            return known
        if self._is_fresh(self._empty_at):
            return None
        now, database = time.monotonic(), router.db_for_write(WebhookSecret)
        alias: str | None
        try:
            is_empty, alias = run(database, partial(_owner, digest, database))
        except Error:
            if known is None:
                raise
            is_empty, alias = False, known
        if is_empty:
            self._empty_at = now
        if alias is None:
            self._callers.pop(digest, None)
        else:
            self._callers[digest] = alias, now
        return alias

    def labels(self) -> dict[str, str]:
        if not self._is_fresh(self._labels_read_at):
            now = time.monotonic()
            rows = models.Account.objects.for_writing().values_list("alias", "label")
            self._labels = {alias: name or alias for alias, name in rows}
            self._labels_read_at = now
        return self._labels


def _owner(digest: str, database: str) -> tuple[bool, str | None]:
    """Whether the database has no secret at all, and the alias of the active account that this one belongs to."""
    owner = WebhookSecret.objects.filter(digest=digest, account__is_active=True).values("account__alias")
    # Hung on whichever row there is: so one statement answers both.
    row = WebhookSecret.objects.using(database).order_by("pk").values_list(Subquery(owner[:1])).first()
    return row is None, row[0] if row else None


_memory = _Memory()
#: For tests that move the clock.
forget = _memory.forget
for _signal in (post_save, post_delete):
    for _model in (models.Account, WebhookSecret):
        _signal.connect(_memory.changed, sender=_model)
