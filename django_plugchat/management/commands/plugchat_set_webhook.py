from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.checks import run_checks
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from django_plugchat.client import PlugChatAuthError, PlugChatClient, PlugChatError
from django_plugchat.conf import Account, app_settings
from django_plugchat.provider.calls import UPDATE_WEBHOOKS, UPDATE_WEBHOOKS_KEYS
from django_plugchat.redaction import mask_url
from django_plugchat.registering import addresses, registration
from django_plugchat.registering.probe import ProbeError, probe


class Command(BaseCommand):
    help = gettext_noop("Registers with PlugChat the URL that it calls after sending a message.")
    # handle() reports what matters here, in one line.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.description = _(self.help)
        parser.add_argument(
            "url",
            nargs="?",
            help=_(
                "Without a path it replaces PUBLIC_URL (a tunnel, say), with one it is registered as it is. "
                "By default PUBLIC_URL and the account's first secret make the URL."
            ),
        )
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            "--account", metavar="NAME", help=_('One of ACCOUNTS. By default the only one, or that named "default".')
        )
        which.add_argument("--all", action="store_true", dest="all_accounts", help=_("Every account, in turn."))
        parser.add_argument(
            "--with-status", action="store_true", help=_("Also for what becomes of messages: received, read, played.")
        )
        parser.add_argument(
            "--api",
            choices=["update-webhooks"],
            help=_("Make the call of PlugChat's documentation of today instead of those of 2022."),
        )
        parser.add_argument(
            "--webhook",
            action="append",
            default=[],
            dest="others",
            metavar="KEY=URL",
            help=_(
                "With --api update-webhooks: another webhook's URL, which the call may clear if it is left out. "
                "KEY is one of %(keys)s."
            )
            % {"keys": ", ".join(UPDATE_WEBHOOKS_KEYS)},
        )
        parser.add_argument(
            "--no-input",
            "--noinput",
            action="store_false",
            dest="interactive",
            help=_("Do not ask before --api update-webhooks leaves webhooks out."),
        )
        parser.add_argument(
            "--probe",
            action="store_true",
            dest="with_probe",
            help=_("First post a harmless callback to the URL, and stop if something stands in the way."),
        )
        parser.add_argument(
            "--wait", type=_seconds, metavar="SECONDS", help=_("Then wait for a callback. Exit with 1 without one.")
        )
        parser.add_argument(
            "--dry-run", action="store_true", help=_("Say what PlugChat would be sent, and do not send it.")
        )
        parser.add_argument(
            "--show-url", action="store_true", help=_("Print the whole URL, secret included, and do nothing else.")
        )

    def handle(
        self,
        *,
        url: str | None,
        account: str | None,
        all_accounts: bool,
        with_status: bool,
        api: str | None,
        others: list[str],
        interactive: bool,
        with_probe: bool,
        wait: float | None,
        dry_run: bool,
        show_url: bool,
        **options: Any,
    ) -> None:
        for message in run_checks(tags=["plugchat"]):
            if message.is_serious():
                raise CommandError(f"{message.msg} {message.hint}")
        accounts = _chosen_accounts(account, all_accounts)
        is_whole = _is_whole(url)
        if is_whole and len(accounts) > 1:
            raise CommandError(
                _("The secret in the URL says which account calls: give --all a URL without a path, or none.")
            )
        keys = registration.todays_keys(with_status=with_status) if api else ()
        other_urls = _other_urls(others, keys)
        if api and not show_url:
            self._confirm_omissions({*keys, *other_urls}, ask=interactive and not dry_run)

        started_at = timezone.now()
        registered, failed = [], 0
        for chosen in accounts:
            try:
                target = self._target(chosen, url, is_whole=is_whole, with_secret=wait is not None)
                secret_id = addresses.secret_id_in(target, chosen)
                if show_url:
                    self.stdout.write(target if len(accounts) == 1 else f"{chosen.alias}: {target}")
                    continue
                client = _client(chosen)
                if with_probe:
                    self._probe(chosen, target)
                if api:
                    calls = [registration.Call(UPDATE_WEBHOOKS, dict.fromkeys(keys, target) | other_urls)]
                else:
                    calls = registration.classic_calls(target, with_status=with_status)
                for call in calls:
                    self._make(call, client, chosen, dry_run=dry_run)
                registered.append(registration.Expected(chosen.alias, secret_id))
            except (addresses.UnusableURLError, PlugChatError, ProbeError) as problem:
                text = _("Account %(account)s: %(problem)s") % {"account": chosen.alias, "problem": problem}
                if len(accounts) == 1:
                    raise CommandError(text) from None
                self.stderr.write(text)
                failed += 1
        if registered and not dry_run:
            self._prove(registered, since=started_at, seconds=wait)
        if failed:
            text = _("%(failed)d of %(count)d accounts failed.")
            raise CommandError(text % {"failed": failed, "count": len(accounts)})

    def _warn(self, text: str) -> None:
        self.stderr.write(self.style.WARNING(text))

    def _target(self, account: Account, url: str | None, *, is_whole: bool, with_secret: bool) -> str:
        target = url if url and is_whole else addresses.callback_url(account, url)
        addresses.ensure_reachable(target)
        if with_secret and not addresses.secret_id_in(target, account):
            raise addresses.UnusableURLError(
                _("The URL holds no secret of the account, so its callbacks can't be told. Leave out --wait.")
            )
        return target

    def _confirm_omissions(self, present: set[str], *, ask: bool) -> None:
        omitted = [key for key in UPDATE_WEBHOOKS_KEYS if key not in present]
        if not omitted:
            return
        text = _(
            "The call leaves out %(keys)s. PlugChat's page lists all keys as required, and does not say what becomes "
            "of one that is left out: its URL may be cleared. Give it with --webhook KEY=URL."
        )
        self._warn(text % {"keys": ", ".join(omitted)})
        if not ask:
            return
        try:
            answer = input(_("Type yes to go on: "))
        except EOFError:
            raise CommandError(_("Nobody answered. Give --no-input to go on without being asked.")) from None
        if answer.strip().lower() not in {"yes", _("yes")}:
            raise CommandError(_("Nothing was registered."))

    def _probe(self, account: Account, url: str) -> None:
        probe(url, timeout=app_settings.api_timeout)
        text = _(
            "Account %(account)s: this app answers at %(url)s, as seen from this machine. That PlugChat gets there too "
            "is not proven."
        )
        self.stdout.write(text % {"account": account.alias, "url": mask_url(url)})

    def _make(self, call: registration.Call, client: PlugChatClient, account: Account, *, dry_run: bool) -> None:
        values = {
            "account": account.alias,
            "api": client.shown_url(call.name),
            "what": registration.describe(call, account),
        }
        if dry_run:
            self.stdout.write(_("Account %(account)s: would register %(what)s by a PUT to %(api)s.") % values)
            return
        registration.make(call, client)
        self.stdout.write(self.style.SUCCESS(_("Account %(account)s: registered %(what)s.") % values))
        try:
            registration.note(call, account)
        except Exception as error:
            # Whatever the database is like, PlugChat has the URL.
            text = _("Account %(account)s: this could not be noted in the database (%(error)s). It is registered.")
            self._warn(text % {"account": account.alias, "error": type(error).__name__})

    def _prove(self, registered: list[registration.Expected], *, since: datetime, seconds: float | None) -> None:
        if seconds is None:
            self.stdout.write(
                _(
                    "PlugChat said yes. No more is proven: it has said yes before and gone on calling the old URL. "
                    "Send a message, then look at plugchat_status, or let this command --wait for the callback."
                )
            )
            return
        text = _("Waiting at most %(seconds)g seconds for a callback. Send a message now.")
        self.stdout.write(text % {"seconds": seconds})
        # Into a pipe it would be seen when the waiting is over.
        self.stdout.flush()
        missing = list(registered)
        try:
            for callback, is_stored in registration.arrivals(registered, since=since, seconds=seconds):
                missing.remove(callback)
                values = {"account": callback.account, "id": callback.secret_id}
                if is_stored:
                    text = _("Account %(account)s: a callback with the secret %(id)s has come and is stored.")
                    self.stdout.write(self.style.SUCCESS(text % values))
                else:
                    text = _(
                        "Account %(account)s: a callback with the secret %(id)s has come and was refused. The rejected "
                        "callbacks in the admin say why."
                    )
                    self._warn(text % values)
        except Error as error:
            text = _("The database can't be read (%(error)s).")
            raise CommandError(text % {"error": type(error).__name__}) from None
        if missing:
            text = _(
                "No callback has come within %(seconds)g seconds for %(accounts)s. If a message was sent, try --probe, "
                "and look in PlugChat's panel which URL it has."
            )
            raise CommandError(text % {"seconds": seconds, "accounts": ", ".join(account for account, _id in missing)})


def _client(account: Account) -> PlugChatClient:
    if not account.token:
        raise PlugChatAuthError(_("There is no TOKEN. Put the account's API token there."))
    return PlugChatClient(token=account.token, base_url=app_settings.api_url, timeout=app_settings.api_timeout)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        raise ArgumentTypeError(_("must be a number of seconds"))
    return float(text)


def _other_urls(texts: list[str], own_keys: tuple[str, ...]) -> dict[str, str]:
    """The URLs of other webhooks that the call is to hold. Refuses what it can't."""
    if texts and not own_keys:
        raise CommandError(_("--webhook is for --api update-webhooks."))
    urls: dict[str, str] = {}
    for text in texts:
        key, _equals, url = text.partition("=")
        free = [known for known in UPDATE_WEBHOOKS_KEYS if known not in {*own_keys, *urls}]
        if key not in free:
            # What was typed is not quoted: it may hold a secret.
            raise CommandError(
                _("--webhook takes KEY=URL, with one of these keys: %(keys)s.") % {"keys": ", ".join(free)}
            )
        try:
            addresses.ensure_reachable(url)
        except addresses.UnusableURLError as problem:
            raise CommandError(f"--webhook {key}: {problem}") from None
        urls[key] = url
    return urls


def _chosen_accounts(name: str | None, all_accounts: bool) -> list[Account]:
    accounts = app_settings.accounts
    if not accounts:
        raise CommandError(_("PLUGCHAT has no account. Add one to its ACCOUNTS."))
    if all_accounts or (name is None and len(accounts) == 1):
        return list(accounts.values())
    values = {"name": mask_url(name or ""), "known": ", ".join(accounts)}
    name = "default" if name is None and "default" in accounts else name
    if name is None:
        raise CommandError(_("Say which account with --account, or --all. There are: %(known)s.") % values)
    if name not in accounts:
        raise CommandError(_("There is no account %(name)s. There are: %(known)s.") % values)
    return [accounts[name]]


def _is_whole(url: str | None) -> bool:
    """Whether the URL given is to be registered as it is. Refuses one that can't be, whatever the account."""
    if url is None:
        return False
    try:
        addresses.ensure_reachable(url)
        return addresses.is_whole(url)
    except addresses.UnusableURLError as problem:
        raise CommandError(str(problem)) from None
