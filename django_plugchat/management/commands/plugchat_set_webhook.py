from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_plugchat import addresses
from django_plugchat.checks import check_setting
from django_plugchat.client import PlugChatAuthError, PlugChatClient, PlugChatError
from django_plugchat.conf import Account, app_settings


class Command(BaseCommand):
    help = "Registers with PlugChat the URL that it calls after sending a message."
    # handle() reports what matters here, in one line.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "url",
            nargs="?",
            help="Without a path it replaces PUBLIC_URL (a tunnel, say), with one it is registered as it is. "
            "By default PUBLIC_URL and the account's first secret make the URL.",
        )
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            "--account", metavar="NAME", help='One of ACCOUNTS. By default the only one, or that named "default".'
        )
        which.add_argument("--all", action="store_true", dest="all_accounts", help="Every account, one after another.")
        parser.add_argument("--dry-run", action="store_true", help="Say what would be sent, and send nothing.")
        parser.add_argument(
            "--show-url", action="store_true", help="Print the whole URL, secret included, and do nothing else."
        )

    def handle(
        self,
        *,
        url: str | None,
        account: str | None,
        all_accounts: bool,
        dry_run: bool,
        show_url: bool,
        **options: Any,
    ) -> None:
        for message in check_setting():
            if message.is_serious():
                raise CommandError(f"{message.msg} {message.hint}")
        accounts = _chosen_accounts(account, all_accounts)
        is_whole = _is_whole(url)
        if is_whole and len(accounts) > 1:
            raise CommandError(
                _("The secret in the URL says which account calls: give --all a URL without a path, or none.")
            )
        failed = 0
        for chosen in accounts:
            try:
                target = url if url and is_whole else addresses.callback_url(chosen, url)
                addresses.ensure_reachable(target)
                if show_url:
                    self.stdout.write(target if len(accounts) == 1 else f"{chosen.alias}: {target}")
                else:
                    self._register(chosen, target, dry_run=dry_run)
            except (addresses.UnusableURLError, PlugChatError) as problem:
                text = _("Account %(account)s: %(problem)s") % {"account": chosen.alias, "problem": problem}
                if len(accounts) == 1:
                    raise CommandError(text) from None
                self.stderr.write(text)
                failed += 1
        if failed:
            raise CommandError(
                ngettext(
                    "%(failed)d of %(count)d account failed.", "%(failed)d of %(count)d accounts failed.", len(accounts)
                )
                % {"failed": failed, "count": len(accounts)}
            )

    def _register(self, account: Account, url: str, *, dry_run: bool) -> None:
        if not account.token:
            raise PlugChatAuthError(_("There is no TOKEN. Put the account's API token there."))
        client = PlugChatClient(token=account.token, base_url=app_settings.api_url, timeout=app_settings.api_timeout)
        values = {"account": account.alias, "url": addresses.mask_url(url), "api": client.url}
        if dry_run:
            self.stdout.write(_("Account %(account)s: would register %(url)s by a PUT to %(api)s.") % values)
            return
        client.update_delivery_webhook(url)
        self.stdout.write(self.style.SUCCESS(_("Account %(account)s: registered %(url)s.") % values))


def _chosen_accounts(name: str | None, all_accounts: bool) -> list[Account]:
    accounts = app_settings.accounts
    if not accounts:
        raise CommandError(_("PLUGCHAT has no account. Add one to its ACCOUNTS."))
    if all_accounts or (name is None and len(accounts) == 1):
        return list(accounts.values())
    known = ", ".join(accounts)
    if name is None:
        if "default" not in accounts:
            raise CommandError(
                _("Say which account with --account, or --all. There are: %(known)s.") % {"known": known}
            )
        name = "default"
    if name not in accounts:
        raise CommandError(
            _("There is no account %(name)s. There are: %(known)s.")
            % {"name": addresses.mask_url(name), "known": known}
        )
    return [accounts[name]]


def _is_whole(url: str | None) -> bool:
    """Whether the URL given is to be registered as it is. Refuses one that can't be, whatever the account."""
    if url is None:
        return False
    try:
        addresses.ensure_reachable(url)
    except addresses.UnusableURLError as problem:
        raise CommandError(str(problem)) from None
    return addresses.has_path(url)
