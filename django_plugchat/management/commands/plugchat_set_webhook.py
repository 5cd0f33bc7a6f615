import time
from argparse import Namespace
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from getpass import getpass
from typing import Any

from django.core.checks import run_checks
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error
from django.utils.translation import gettext as _, gettext_noop

from django_plugchat import accounts
from django_plugchat.conf import Z_API, Account, app_settings
from django_plugchat.provider.calls import TYPE_OF_WEBHOOK, UPDATE_WEBHOOKS_KEYS
from django_plugchat.redaction import mask_url
from django_plugchat.registering import addresses, registration
from django_plugchat.registering.probe import ProbeError, probe
from django_plugchat.registering.registration import Job


class Command(BaseCommand):
    help = gettext_noop("Registers with the provider the URL that it calls after sending a message.")
    # handle() reports what matters here, in one line.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.description = _(self.help)
        add = parser.add_argument
        flag = partial(add, action="store_true")
        add("url", nargs="?", help=_("A tunnel, say, instead of PUBLIC_URL. With a path it is taken as it is."))
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--account", metavar="NAME", help=_('By default the only one, or that named "default".'))
        which.add_argument("--all", action="store_true", dest="all_accounts", help=_("Every account."))
        flag("--only-missing", help=_("With --all: only what is not registered by the present secret."))
        add("--concurrency", type=int, default=1, metavar="N", help=_("With --all: accounts at once. Default: 1"))
        flag("--with-status", help=_("Also for what becomes of messages: received, read, played."))
        flag("--with-connection", help=_("Also for when the number is connected or disconnected."))
        text = _("Make the call of PlugChat's documentation of today instead of those of 2022.")
        add("--api", choices=["update-webhooks"], help=text)
        text = _("With --api update-webhooks: the URL of another webhook. KEY is one of %(keys)s.")
        text %= {"keys": ", ".join(UPDATE_WEBHOOKS_KEYS)}
        add("--webhook", action="append", default=[], dest="others", metavar="KEY=URL", help=text)
        text = _("Ask nothing: no token, and not whether to leave webhooks out.")
        add("--no-input", "--noinput", action="store_false", dest="interactive", help=text)
        flag("--probe", help=_("First post a harmless callback to the URL, and stop if something stands in the way."))
        text = _("Then wait for a callback of each webhook. Exit with 1 without one.")
        add("--wait", type=float, metavar="SECONDS", help=text)
        flag("--dry-run", help=_("Say what the provider would be sent, and do not send it."))
        flag("--show-url", help=_("Print the whole URL, secret included, and do nothing else."))

    def handle(self, *, account: str | None, all_accounts: bool, **options: Any) -> None:
        for message in run_checks(tags=["plugchat"]):
            if message.is_serious():
                raise CommandError(f"{message.msg} {message.hint}")
        self.asked = asked = Namespace(**options)
        if asked.others and not asked.api:
            raise CommandError(_("--webhook is for --api update-webhooks."))
        if not 1 <= asked.concurrency < 1000:
            raise CommandError(_("--concurrency takes an integer from 1 to 999."))
        if not 0 <= (asked.wait or 0) < 10**9:
            raise CommandError(_("--wait takes a number of seconds."))
        self.webhooks = registration.webhooks(asked.with_status, asked.with_connection, by_todays_call=bool(asked.api))
        self.others = self._other_urls()
        self.registered: list[Job] = []
        self.failures: list[str] = []
        try:
            # Refused here if it could not be registered for any account.
            target = addresses.url_with("a-new-secret", asked.url)
            chosen = _chosen(account, all_accounts)
            if len(chosen) > 1 and target == asked.url:
                text = _("The secret in the URL says which account calls: give --all a URL without a path.")
                raise CommandError(text)
            chosen = registration.missing(chosen, self.webhooks) if asked.only_missing else chosen
            self.is_alone = len(chosen) == 1
            if not chosen:
                self.stdout.write(_("No account is missing: all are registered."))
            elif asked.show_url:
                self._each(chosen, self._show_url)
            else:
                self._register(chosen)
        except (addresses.UnusableURLError, Error) as error:
            raise CommandError(_told(error)) from None
        if self.failures:
            text = _("%(failed)d of %(count)d accounts failed.")
            text %= {"failed": len(self.failures), "count": len(chosen)}
            raise CommandError(self.failures[0] if self.is_alone else text)

    def _other_urls(self) -> dict[str, str]:
        """The URLs of other webhooks that the call is to hold. Refuses what it can't."""
        urls = dict(given.partition("=")[::2] for given in self.asked.others)
        free = [key for key in UPDATE_WEBHOOKS_KEYS if key not in self.webhooks]
        if not urls.keys() <= {*free} or len(urls) < len(self.asked.others):
            # What was typed is not quoted: it may hold a secret.
            text = _("--webhook takes KEY=URL, with one of these keys: %(keys)s.")
            raise CommandError(text % {"keys": ", ".join(free)})
        for key, url in urls.items():
            try:
                addresses.ensure_reachable(url)
            except addresses.UnusableURLError as problem:
                raise CommandError(f"--webhook {key}: {problem}") from None
        return urls

    def _say(self, alias: str, text: str, style: Callable[[str], str] = str) -> None:
        self.stdout.write(style(_of(alias, text)))

    def _warn(self, text: str) -> None:
        self.stderr.write(self.style.WARNING(text))

    def _fail(self, alias: str, problem: str) -> None:
        self.failures.append(_of(alias, problem))
        if not self.is_alone:
            self.stderr.write(self.failures[-1])

    def _each(self, chosen: list[Account], do: Callable[[Account], None]) -> None:
        """One account that fails does not stop the others."""
        for account in chosen:
            try:
                do(account)
            except (ValueError, ProbeError, Error) as error:
                self._fail(account.alias, _told(error))

    def _show_url(self, account: Account) -> None:
        target, _id, is_new = registration.target_of(account, self.asked.url)
        if is_new:
            target = addresses.url_with(accounts.new_secret(account.alias), self.asked.url)
        self.stdout.write(target if self.is_alone else f"{account.alias}: {target}")
        if is_new:
            self._warn(_of(account.alias, _("the secret in this URL is new, and is not shown again.")))

    def _register(self, chosen: list[Account]) -> None:
        if self.asked.api:
            self._confirm_omissions()
        try:
            for start in range(0, len(chosen), self.asked.concurrency):
                self._register_at_once(chosen[start : start + self.asked.concurrency])
        except KeyboardInterrupt:
            text = _("Interrupted. Run it again with --only-missing for the rest.")
            raise CommandError(text, returncode=130) from None
        if not self.asked.dry_run and len(self.failures) < len(chosen):
            self._prove(self.asked.wait)

    def _register_at_once(self, chosen: list[Account]) -> None:
        """The provider is asked in threads; everything else, the database too, is done in this one."""
        jobs: list[Job] = []
        try:
            self._each(chosen, partial(self._begin, jobs))
            with ThreadPoolExecutor(self.asked.concurrency) as pool:
                list(pool.map(Job.run, jobs))
        finally:
            # After Ctrl-C too: the provider may have the URLs.
            for job in jobs:
                job.finish()
            for job in jobs:
                self._tell(job)

    def _confirm_omissions(self) -> None:
        omitted = ", ".join(key for key in UPDATE_WEBHOOKS_KEYS if key not in {*self.webhooks, *self.others})
        if not omitted:
            return
        text = _("The call leaves out %(keys)s. That may clear their URLs: give these with --webhook KEY=URL.")
        self._warn(text % {"keys": omitted})
        is_asked = self.asked.interactive and not self.asked.dry_run
        if is_asked and _answer(input, _("Type yes to go on: ")).lower() not in {"yes", _("yes")}:
            raise CommandError(_("Nothing was registered. Give --no-input to go on without being asked."))

    def _begin(self, jobs: list[Job], account: Account) -> None:
        job = Job(self._with_token(account), self.webhooks, self.asked.url, others=self.others)
        if self.asked.probe:
            probe(job.url, timeout=app_settings.api_timeout, secret_is_known=not job.is_secret_new)
            text = _("this app answers at %(url)s, seen from here. That the provider gets there too is not proven.")
            self._say(account.alias, text % {"url": mask_url(job.url)})
        if self.asked.dry_run:
            text = _("would register %(what)s by a PUT to %(api)s.")
            self._say(account.alias, text % {"what": job.described(job.urls), "api": job.client.host})
            return
        job.begin(waits=self.asked.wait is not None)
        jobs.append(job)

    def _with_token(self, account: Account) -> Account:
        account = accounts.with_token(account)
        if account.token or account.alias in app_settings.accounts or not self.asked.interactive:
            return account
        values = {"account": account.alias}
        token = _answer(getpass, _("Token of account %(account)s: ") % values)
        client_token = ""
        if account.provider == Z_API:
            client_token = _answer(getpass, _("Client-Token of account %(account)s, if it has one: ") % values)
        return replace(account, token=token, client_token=client_token)

    def _tell(self, job: Job) -> None:
        alias = job.account.alias
        if job.taken:
            self._say(alias, _("registered %(what)s.") % {"what": job.described(job.taken)}, self.style.SUCCESS)
        for warning in job.warnings:
            self._warn(_of(alias, warning))
        if job.problems:
            self._fail(alias, " ".join(job.problems))
        else:
            self.registered.append(job)

    def _prove(self, seconds: float | None) -> None:
        if seconds is None:
            text = _("That the provider calls is not proven. Send a message and look at plugchat_status, or --wait.")
            self.stdout.write(text)
            return
        text = _("Waiting at most %(seconds)g seconds for callbacks. Send a message now, and read it.")
        self.stdout.write(text % {"seconds": seconds})
        # Into a pipe it would be seen when the waiting is over.
        self.stdout.flush()
        types = sorted({TYPE_OF_WEBHOOK[name] for name in self.webhooks if name in TYPE_OF_WEBHOOK})
        missing = [(job, callback_type) for job in self.registered for callback_type in types]
        ends_at = time.monotonic() + seconds
        while True:
            for job, callback_type in list(missing):
                if heard := job.heard(callback_type):
                    missing.remove((job, callback_type))
                    self._say(job.account.alias, heard, self.style.SUCCESS)
            left = ends_at - time.monotonic()
            if not missing or left <= 0:
                break
            time.sleep(min(1, left))
        if missing:
            text = _("Within %(seconds)g seconds there was no %(callbacks)s. See --probe, and the provider's panel.")
            callbacks = ", ".join(f"{callback_type} ({job.account.alias})" for job, callback_type in missing)
            raise CommandError(text % {"seconds": seconds, "callbacks": callbacks})


def _told(error: Exception) -> str:
    if isinstance(error, Error):
        return _("The database can't be used (%(error)s).") % {"error": type(error).__name__}
    return str(error)


def _of(alias: str, text: str) -> str:
    return _("Account %(account)s: %(text)s") % {"account": alias, "text": text}


def _chosen(name: str | None, all_accounts: bool) -> list[Account]:
    known = app_settings.accounts
    wanted = "default" if name is None else name
    if all_accounts or wanted not in known:
        # The database is asked only where the settings don't say.
        known = accounts.all_accounts()
    if not known:
        raise CommandError(_("There is no account. Add one to ACCOUNTS in PLUGCHAT, or in the admin."))
    if all_accounts or (name is None and len(known) == 1):
        return list(known.values())
    if wanted in known:
        return [known[wanted]]
    text = _("Name one of the accounts with --account, or give --all. There are: %(known)s.")
    raise CommandError(text % {"known": ", ".join(list(known)[:20])})


def _answer(ask: Callable[[str], str], question: str) -> str:
    try:
        return ask(question).strip()
    except EOFError:
        # Nobody is there.
        return ""
