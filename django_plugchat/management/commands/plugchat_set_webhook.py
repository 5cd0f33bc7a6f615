import re
from argparse import ArgumentTypeError
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from getpass import getpass
from itertools import islice
from typing import Any

from django.core.checks import run_checks
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from django_plugchat import accounts
from django_plugchat.client import PlugChatError
from django_plugchat.conf import Z_API, Account, app_settings
from django_plugchat.provider.calls import UPDATE_WEBHOOKS_KEYS
from django_plugchat.redaction import mask_url
from django_plugchat.registering import addresses
from django_plugchat.registering.probe import ProbeError, probe
from django_plugchat.registering.registration import (
    Expected,
    Job,
    Result,
    Wanted,
    arrivals,
    client_of,
    expected_of,
    missing,
    prepare,
    target_of,
)


class Command(BaseCommand):
    help = gettext_noop("Registers with the provider the URL that it calls after sending a message.")
    # handle() reports what matters here, in one line.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.description = _(self.help)
        add = parser.add_argument
        add("url", nargs="?", help=_("A tunnel, say, instead of PUBLIC_URL. With a path it is taken as it is."))
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--account", metavar="NAME", help=_('By default the only one, or that named "default".'))
        which.add_argument("--all", action="store_true", dest="all_accounts", help=_("Every account."))
        text = _("With --all: only what is not registered by the present secret.")
        add("--only-missing", action="store_true", help=text)
        text = _("With --all: accounts at once. Default: 1")
        add("--concurrency", type=_positive, default=1, metavar="N", help=text)
        add("--with-status", action="store_true", help=_("Also for what becomes of messages: received, read, played."))
        text = _("Also for when the number is connected or disconnected.")
        add("--with-connection", action="store_true", help=text)
        text = _("Make the call of PlugChat's documentation of today instead of those of 2022.")
        add("--api", choices=["update-webhooks"], help=text)
        text = _("With --api update-webhooks: the URL of another webhook. KEY is one of %(keys)s.")
        text %= {"keys": ", ".join(UPDATE_WEBHOOKS_KEYS)}
        add("--webhook", action="append", default=[], dest="others", metavar="KEY=URL", help=text)
        text = _("Ask nothing: no token, and not whether to leave webhooks out.")
        add("--no-input", "--noinput", action="store_false", dest="interactive", help=text)
        text = _("First post a harmless callback to the URL, and stop if something stands in the way.")
        add("--probe", action="store_true", dest="with_probe", help=text)
        text = _("Then wait for a callback of each webhook. Exit with 1 without one.")
        add("--wait", type=_seconds, metavar="SECONDS", help=text)
        add("--dry-run", action="store_true", help=_("Say what the provider would be sent, and do not send it."))
        add("--show-url", action="store_true", help=_("Print the whole URL, secret included, and do nothing else."))

    def handle(
        self,
        *,
        url: str | None,
        account: str | None,
        all_accounts: bool,
        only_missing: bool,
        concurrency: int,
        with_status: bool,
        with_connection: bool,
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
        wanted = Wanted(with_status, with_connection, bool(api))
        self.wanted = replace(wanted, others=_other_urls(others, wanted))
        self.url, self.interactive, self.with_probe, self.is_rehearsal = url, interactive, with_probe, dry_run
        if only_missing and not all_accounts:
            raise CommandError(_("--only-missing is for --all."))
        try:
            chosen = _chosen_accounts(account, all_accounts)
            _ensure_url_fits(url, chosen)
            chosen = missing(chosen, self.wanted) if only_missing else chosen
        except Error as error:
            raise CommandError(_unreadable(error)) from None
        if not chosen:
            self.stdout.write(_("No account is missing: all are registered."))
        self.is_alone = len(chosen) == 1
        self.failed = 0
        self.waits = wait is not None and not dry_run
        self.expected: list[Expected] = []
        if show_url:
            self._show_urls(chosen)
        else:
            if api:
                self._confirm_omissions(ask=interactive and not dry_run)
            self._register(chosen, concurrency)
            if not dry_run and self.failed < len(chosen):
                self._prove(wait)
        if self.failed:
            text = _("%(failed)d of %(count)d accounts failed.")
            raise CommandError(text % {"failed": self.failed, "count": len(chosen)})

    def _warn(self, text: str) -> None:
        self.stderr.write(self.style.WARNING(text))

    def _fail(self, account: Account, problem: object) -> None:
        text = _("Account %(account)s: %(problem)s") % {"account": account.alias, "problem": problem}
        if self.is_alone:
            raise CommandError(text) from None
        self.stderr.write(text)
        self.failed += 1

    def _show_urls(self, chosen: list[Account]) -> None:
        for account in chosen:
            try:
                target, _id, is_new = target_of(account, self.url)
            except ValueError as problem:
                self._fail(account, problem)
            else:
                self.stdout.write(target if self.is_alone else f"{account.alias}: {target}")
                if is_new:
                    text = _("Account %(account)s: the secret in this URL is new, and is not shown again.")
                    self._warn(text % {"account": account.alias})

    def _confirm_omissions(self, *, ask: bool) -> None:
        present = {*self.wanted.webhooks, *self.wanted.others}
        omitted = ", ".join(key for key in UPDATE_WEBHOOKS_KEYS if key not in present)
        if not omitted:
            return
        text = _(
            "The call leaves out %(keys)s. PlugChat's page lists all keys as required, and does not say what becomes "
            "of one that is left out: its URL may be cleared. Give it with --webhook KEY=URL."
        )
        self._warn(text % {"keys": omitted})
        if ask and _asked(input, _("Type yes to go on: ")).strip().lower() not in {"yes", _("yes")}:
            raise CommandError(_("Nothing was registered."))

    def _register(self, chosen: list[Account], concurrency: int) -> None:
        """The provider is asked in threads; everything else, the database too, is done in this one."""
        running: deque[tuple[Job, Future[Result]]] = deque()

        def finish_down_to(left: int) -> None:
            while len(running) > left:
                job, future = running[0]
                result = future.result()
                running.popleft()
                self._finish(job, result)

        with ThreadPoolExecutor(concurrency) as pool:
            try:
                for job in self._jobs(chosen):
                    running.append((job, pool.submit(copy_context().run, job.run)))
                    finish_down_to(concurrency - 1)
                finish_down_to(0)
            except KeyboardInterrupt:
                finish_down_to(0)
                text = _("Interrupted. Run it again with --only-missing for the rest.")
                raise CommandError(text, returncode=130) from None

    def _jobs(self, chosen: list[Account]) -> Iterator[Job]:
        for account in chosen:
            try:
                job = self._prepared(account)
            except Error as error:
                self._fail(account, _unreadable(error))
            except (ValueError, PlugChatError, ProbeError) as problem:
                self._fail(account, problem)
            else:
                if not self.is_rehearsal:
                    yield job
                    continue
                text = _("Account %(account)s: would register %(what)s by a PUT to %(api)s.")
                values = {"what": job.described(job.urls), "api": job.shown_apis()}
                self.stdout.write(text % {"account": account.alias, **values})

    def _prepared(self, account: Account) -> Job:
        account = self._with_token(account)
        client_of(account)
        if self.with_probe:
            self._probe(account)
        job = prepare(account, self.wanted, self.url, is_rehearsal=self.is_rehearsal)
        if self.waits and not job.secret_id:
            text = _("The URL holds no secret of the account, so its callbacks can't be told. Leave out --wait.")
            raise addresses.UnusableURLError(text)
        self.expected += expected_of(job) if self.waits else []
        return job

    def _with_token(self, account: Account) -> Account:
        account = accounts.with_token(account)
        if account.token or account.alias in app_settings.accounts or not self.interactive:
            return account
        values = {"account": account.alias}
        token = _asked(getpass, _("Token of account %(account)s: ") % values)
        client_token = ""
        if account.provider == Z_API:
            client_token = _asked(getpass, _("Client-Token of account %(account)s, if it has one: ") % values)
        return replace(account, token=token.strip(), client_token=client_token.strip())

    def _probe(self, account: Account) -> None:
        url, _id, is_new = target_of(account, self.url, is_rehearsal=True)
        probe(url, timeout=app_settings.api_timeout, secret_is_known=not is_new)
        text = _(
            "Account %(account)s: this app answers at %(url)s, as seen from this machine. That the provider gets there "
            "too is not proven."
        )
        self.stdout.write(text % {"account": account.alias, "url": mask_url(url)})

    def _finish(self, job: Job, result: Result) -> None:
        job.finish(result)
        values = {"account": result.account, "what": job.described(result.taken)}
        if result.taken:
            self.stdout.write(self.style.SUCCESS(_("Account %(account)s: registered %(what)s.") % values))
        for warning in result.warnings:
            self._warn(_("Account %(account)s: %(problem)s") % {"account": result.account, "problem": warning})
        if not result.is_good:
            self.expected = [callback for callback in self.expected if callback.account != result.account]
            retired = [_("The new secret was retired again.")] if result.is_retired else []
            self._fail(job.account, " ".join(filter(None, [result.problem, *result.differences, *retired])))

    def _prove(self, seconds: float | None) -> None:
        if seconds is None:
            text = _(
                "The provider said yes. No more is proven: it has said yes before and gone on calling the old URL. "
                "Send a message, then look at plugchat_status, or let this command --wait for the callbacks."
            )
            self.stdout.write(text)
            return
        text = _("Waiting at most %(seconds)g seconds for %(callbacks)s. Send a message now, and read it.")
        values = {"seconds": seconds, "callbacks": ", ".join(dict.fromkeys(one.type for one in self.expected))}
        self.stdout.write(text % values)
        # Into a pipe it would be seen when the waiting is over.
        self.stdout.flush()
        awaited = list(self.expected)
        try:
            for callback, outcome in arrivals(self.expected, seconds=seconds):
                awaited.remove(callback)
                values = {"account": callback.account, "type": callback.type, "id": callback.secret_id}
                if outcome == "stored":
                    text = _("Account %(account)s: a %(type)s with the secret %(id)s has come and is stored.")
                    self.stdout.write(self.style.SUCCESS(text % values))
                else:
                    text = _("Account %(account)s: a %(type)s has come and was refused. The admin says why.")
                    self._warn(text % values)
        except Error as error:
            raise CommandError(_unreadable(error)) from None
        if awaited:
            text = _(
                "Within %(seconds)g seconds there was no %(callbacks)s. If a message was sent, try --probe, and look "
                "in the provider's panel which URL it has, and whether it is switched on."
            )
            callbacks = ", ".join(f"{callback.type} ({callback.account})" for callback in awaited)
            raise CommandError(text % {"seconds": seconds, "callbacks": callbacks})


def _unreadable(error: Error) -> str:
    return _("The database can't be used (%(error)s).") % {"error": type(error).__name__}


def _chosen_accounts(name: str | None, all_accounts: bool) -> list[Account]:
    known = app_settings.accounts
    name = "default" if name is None and "default" in known else name
    if all_accounts or name not in known:
        # The database is asked only where the settings don't say.
        known = accounts.all_accounts()
    if not known:
        raise CommandError(_("There is no account. Add one to ACCOUNTS in PLUGCHAT, or in the admin."))
    if all_accounts or (name is None and len(known) == 1):
        return list(known.values())
    if name in known:
        return [known[name]]
    values = {"name": mask_url(name or ""), "known": ", ".join(islice(known, 20))}
    if name is None:
        raise CommandError(_("Say which account with --account, or --all. There are: %(known)s.") % values)
    raise CommandError(_("There is no account %(name)s. There are: %(known)s.") % values)


def _asked(ask: Callable[[str], str], question: str) -> str:
    try:
        return ask(question)
    except EOFError:
        raise CommandError(_("Nobody answered. Give --no-input to go on without being asked.")) from None


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        raise ArgumentTypeError(_("must be a number of seconds"))
    return float(text)


def _positive(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,2}", text):
        raise ArgumentTypeError(_("must be an integer from 1 to 999"))
    return int(text)


def _other_urls(texts: list[str], wanted: Wanted) -> dict[str, str]:
    """The URLs of other webhooks that the call is to hold. Refuses what it can't."""
    if texts and not wanted.by_todays_call:
        raise CommandError(_("--webhook is for --api update-webhooks."))
    urls: dict[str, str] = {}
    for text in texts:
        key, _equals, url = text.partition("=")
        free = [known for known in UPDATE_WEBHOOKS_KEYS if known not in {*wanted.webhooks, *urls}]
        if key not in free:
            # What was typed is not quoted: it may hold a secret.
            text = _("--webhook takes KEY=URL, with one of these keys: %(keys)s.")
            raise CommandError(text % {"keys": ", ".join(free)})
        try:
            addresses.ensure_reachable(url)
        except addresses.UnusableURLError as problem:
            raise CommandError(f"--webhook {key}: {problem}") from None
        urls[key] = url
    return urls


def _ensure_url_fits(url: str | None, chosen: list[Account]) -> None:
    """Refuse a URL that can't be registered, whatever the account."""
    try:
        addresses.ensure_usable(url)
        is_of_one = url is not None and addresses.is_whole(url)
    except addresses.UnusableURLError as problem:
        raise CommandError(str(problem)) from None
    if is_of_one and len(chosen) > 1:
        raise CommandError(_("The secret in the URL says which account calls: give --all a URL without a path."))
