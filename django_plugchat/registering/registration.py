"""Registering URLs with a provider, keeping what was registered, and seeing whether it really calls."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from django_plugchat import accounts
from django_plugchat.client import (
    PlugChatAuthError,
    PlugChatClient,
    PlugChatError,
    PlugChatRequestError,
    PlugChatUnavailable,
    ZApiClient,
)
from django_plugchat.conf import Z_API, Account, app_settings, digest_of, secret_id
from django_plugchat.models import DeliveryEvent, Registration, RejectedCallback
from django_plugchat.provider import calls
from django_plugchat.provider.callbacks import DELIVERY_CALLBACK, MESSAGE_STATUS_CALLBACK
from django_plugchat.redaction import mask_url
from django_plugchat.registering import addresses

#: Of an account's newest rows, how many are looked at for one that came again: the provider repeats soon, if at all.
_LOOKED_AT = 1_000
#: The provider's names of this app's webhooks: of deliveries, of statuses, of the connection.
_WEBHOOKS = ((calls.DELIVERY_WEBHOOK,), (calls.MESSAGE_STATUS_WEBHOOK,), calls.CONNECTION_WEBHOOKS)
_KEYS_OF_TODAYS_CALL = (calls.DELIVERY_KEYS, (calls.MESSAGE_STATUS_KEY,), (calls.DISCONNECTION_KEY,))


@dataclass(frozen=True)
class Wanted:
    """Which webhooks are to be registered, and how."""

    with_status: bool = False
    with_connection: bool = False
    #: By PlugChat's one call of today; else by a call for each webhook.
    by_todays_call: bool = False
    #: The URLs of webhooks that are not this app's, by the keys of today's call.
    others: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def webhooks(self) -> list[str]:
        """Those of this app, by the provider's names."""
        delivery, status, connection = _KEYS_OF_TODAYS_CALL if self.by_todays_call else _WEBHOOKS
        return [*delivery, *(status if self.with_status else ()), *(connection if self.with_connection else ())]


@dataclass
class Result:
    """What became of registering an account. Its texts are for people."""

    account: str
    #: Of the secret in the registered URL; "" where it holds none of the account.
    secret_id: str
    #: The webhooks whose URL the provider took, by its names.
    taken: list[str] = field(default_factory=list)
    error: PlugChatError | None = None
    is_retired: bool = False
    #: What is not proven or not noted.
    warnings: list[str] = field(default_factory=list)
    #: What the provider says of itself that keeps callbacks from coming.
    differences: list[str] = field(default_factory=list)

    @property
    def problem(self) -> str:
        return str(self.error or "")

    @property
    def is_good(self) -> bool:
        return not self.error and not self.differences


@dataclass(frozen=True)
class Job:
    """What registers one account: ``prepare``, then ``run``, then ``finish``."""

    account: Account
    client: PlugChatClient | ZApiClient
    url: str = field(repr=False)
    secret_id: str
    #: The secret was made for this, and is of no use if the provider refuses.
    is_secret_new: bool
    wanted: Wanted

    @property
    def urls(self) -> dict[str, str]:
        """By webhook. They hold secrets."""
        return dict.fromkeys(self.wanted.webhooks, self.url) | dict(self.wanted.others)

    def described(self, webhooks: Iterable[str]) -> str:
        """What is registered, for people: without a secret, and of the webhooks of others without their URLs."""
        url = mask_url(self.url)
        if self.secret_id:
            url = _("%(url)s (secret %(id)s)") % {"url": url, "id": self.secret_id}
        own = ", ".join(webhook for webhook in webhooks if webhook not in self.wanted.others)
        others = ", ".join(webhook for webhook in webhooks if webhook in self.wanted.others)
        text = (
            _("%(url)s for %(webhooks)s, and what was given for %(others)s")
            if others
            else _("%(url)s for %(webhooks)s")
        )
        return text % {"url": url, "webhooks": own, "others": others}

    def shown_apis(self) -> str:
        """Where the requests go, for people."""
        names = [calls.UPDATE_WEBHOOKS] if self.wanted.by_todays_call else self.wanted.webhooks
        return ", ".join(map(self.client.shown_url, names))

    @sensitive_variables()
    def run(self) -> Result:
        """Ask the provider until it refuses. The database is not touched, so any thread may do this."""
        result = Result(self.account.alias, self.secret_id)
        try:
            if isinstance(self.client, PlugChatClient) and self.wanted.by_todays_call:
                self.client.update_webhooks(self.urls)
                result.taken += self.urls
            else:
                for webhook in self.wanted.webhooks:
                    self.client.update(webhook, self.url)
                    result.taken.append(webhook)
        except PlugChatError as error:
            result.error = error
        if isinstance(self.client, ZApiClient) and result.taken:
            self._compare(self.client, result)
        return result

    @sensitive_variables()
    def _compare(self, client: ZApiClient, result: Result) -> None:
        """Ask the instance what it has, and say what keeps callbacks from coming."""
        try:
            registered = client.registered()
        except PlugChatError as error:
            result.warnings.append(_("What the instance has could not be compared: %(problem)s") % {"problem": error})
            return
        filters = registered.get(calls.FILTERS_KEY, ())
        for webhook in result.taken:
            key, kept_back = calls.URL_KEY_AND_FILTER[webhook]
            values = {"webhook": webhook, "filter": kept_back}
            if key not in registered:
                text = _("The instance does not say which URL it has for %(webhook)s.")
                result.warnings.append(text % values)
            elif registered[key] != self.url:
                text = _("The instance has another URL for %(webhook)s. Look in the provider's panel, and try again.")
                result.differences.append(text % values)
            if kept_back in filters:
                text = _("The instance keeps callbacks of %(webhook)s back by its %(filter)s. Switch that off there.")
                result.differences.append(text % values)

    @sensitive_variables()
    def finish(self, result: Result) -> Result:
        """Note what was registered. A new secret that the provider refused for certain is retired."""
        try:
            is_refused = result.error and not isinstance(result.error, PlugChatUnavailable)
            if self.is_secret_new and is_refused and not result.taken:
                accounts.retire(self.account.alias, self.secret_id)
                result.is_retired = True
            for webhook in result.taken:
                used = self.secret_id if self.urls[webhook] == self.url else ""
                Registration.objects.for_writing().update_or_create(
                    account=self.account.alias,
                    webhook=webhook,
                    defaults={"secret_id": used, "registered_at": timezone.now()},
                )
        except Exception as error:
            # Whatever the database is like, the provider has the URL.
            text = _("This could not be noted in the database (%(error)s).")
            result.warnings.append(text % {"error": type(error).__name__})
        return result


@sensitive_variables()
def prepare(account: Account, wanted: Wanted, url: str | None = None, *, is_rehearsal: bool = False) -> Job:
    """All that is decided before the provider is asked. An account of the database gets a new secret.

    ``account`` has its token. Raises UnusableURLError or PlugChatError, and then made nothing.
    """
    client = client_of(account)
    if wanted.by_todays_call and isinstance(client, ZApiClient):
        raise PlugChatRequestError(_("update-webhooks is a call of PlugChat; Z-API has none like it."))
    target, used, is_new = target_of(account, url, is_rehearsal=is_rehearsal)
    return Job(account, client, target, used, is_new, wanted)


def client_of(account: Account) -> PlugChatClient | ZApiClient:
    """Raises PlugChatAuthError for an account without a token, or with something that can't be one."""
    if not account.token:
        raise PlugChatAuthError(_("There is no TOKEN. Put the account's API token there."))
    options: dict[str, Any] = {"token": account.token, "timeout": app_settings.api_timeout}
    try:
        if account.provider == Z_API:
            options |= {"instance": account.instance, "client_token": account.client_token}
            return ZApiClient(base_url=account.api_url or calls.Z_API_URL, **options)
        return PlugChatClient(base_url=account.api_url or app_settings.api_url, **options)
    except ValueError as error:
        raise PlugChatAuthError(str(error)) from None


@sensitive_variables()
def target_of(account: Account, url: str | None = None, *, is_rehearsal: bool = False) -> tuple[str, str, bool]:
    """Where the provider is to call for an account, the id of the secret in it, and whether that was made for this.

    In a rehearsal none is made: the URL holds one that is not accepted. Raises UnusableURLError.
    """
    addresses.ensure_usable(url)
    if url is not None and addresses.is_whole(url):
        return url, secret_id_in(url, account.alias), False
    is_new = account.alias not in app_settings.accounts
    if not is_new and not account.webhook_secrets:
        text = _("The account has no secret. Make one with %(command)s and put it in its WEBHOOK_SECRETS.")
        raise addresses.UnusableURLError(text % {"command": addresses.GENERATOR})
    if is_new and is_rehearsal:
        return addresses.url_with("a-new-secret", url), "", is_new
    secret = accounts.new_secret(account.alias) if is_new else account.webhook_secrets[0]
    return addresses.url_with(secret, url), secret_id(secret), is_new


@sensitive_variables()
def secret_id_in(url: str, alias: str) -> str:
    """Which of the account's secrets the path of a URL holds; "" if none."""
    for segment in urlsplit(url).path.split("/"):
        caller = accounts.caller(digest_of(segment)) if addresses.SECRET.fullmatch(segment) else None
        if caller and caller.account == alias:
            return caller.secret_id
    return ""


@sensitive_variables()
def register_with_new_secret(
    alias: str,
    *,
    token: str,
    client_token: str = "",
    with_status: bool = True,
    with_connection: bool = True,
    base: str | None = None,
) -> Result:
    """Register an account of the database by a new secret.

    Raises UnusableURLError or PlugChatError before it makes the secret, and ValueError where there is no such account.
    """
    account = accounts.find(alias)
    if account is None:
        raise ValueError(_("There is no active account with this alias."))
    wanted = Wanted(with_status=with_status, with_connection=with_connection)
    job = prepare(replace(account, token=token, client_token=client_token), wanted, base)
    return job.finish(job.run())


def missing(candidates: Iterable[Account], wanted: Wanted) -> list[Account]:
    """The accounts whose present secret is not registered for all wanted webhooks."""
    registered = set(Registration.objects.for_writing().values_list("account", "secret_id", "webhook"))
    present = {alias: ids[0] for alias, ids in accounts.secret_ids().items() if ids}
    return [
        account
        for account in candidates
        if not registered.issuperset((account.alias, present.get(account.alias), name) for name in wanted.webhooks)
    ]


class Expected:
    """Callbacks of one type to an account by one secret. Made before registering, since it notes what is there.

    Rows are compared with themselves, never with the clock: that of the host that stores them may differ.
    """

    def __init__(self, job: Job, callback_type: str) -> None:
        self.account, self.secret_id, self.type = job.account.alias, job.secret_id, callback_type
        self._before = {model: dict(self._rows(model)) for model in (DeliveryEvent, RejectedCallback)}

    def _rows(self, model: Any, **conditions: Any) -> Any:
        if model is DeliveryEvent:
            conditions["type"] = self.type
        rows = model.objects.for_writing().for_account(self.account).filter(**conditions)
        return rows.order_by("-received_at", "-pk").values_list("pk", "times_received")[:_LOOKED_AT]

    def _new(self, model: Any) -> list[int]:
        before = self._before[model]
        newest = max(before, default=0)
        rows = self._rows(model, secret_id=self.secret_id)
        return [pk for pk, times in rows if (times != before[pk] if pk in before else pk > newest)]

    def outcome(self) -> str:
        """Of one that has come: "stored" or "refused"; "" while there is none."""
        if self._new(DeliveryEvent):
            return "stored"
        bodies = RejectedCallback.objects.for_writing().filter(pk__in=self._new(RejectedCallback))
        # What can't be read counts for deliveries: the provider calls.
        of_status = [MESSAGE_STATUS_CALLBACK.encode() in bytes(body) for body in bodies.values_list("body", flat=True)]
        return "refused" if (self.type == MESSAGE_STATUS_CALLBACK) in of_status else ""


def expected_of(job: Job) -> list[Expected]:
    types = [DELIVERY_CALLBACK, *([MESSAGE_STATUS_CALLBACK] if job.wanted.with_status else [])]
    return [Expected(job, callback_type) for callback_type in types]


def arrivals(expected: Iterable[Expected], *, seconds: float, pause: float = 1) -> Iterator[tuple[Expected, str]]:
    """Wait for one callback of each, and give it when it has come, with its outcome."""
    awaited = list(expected)
    ends_at = time.monotonic() + seconds
    while True:
        for callback in list(awaited):
            if outcome := callback.outcome():
                awaited.remove(callback)
                yield callback, outcome
        left = ends_at - time.monotonic()
        if not awaited or left <= 0:
            return
        time.sleep(min(pause, left))
