"""Registering URLs with a provider, keeping what was registered, and seeing whether it really calls."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext as _

from django_plugchat import accounts
from django_plugchat.client import PlugChatClient, PlugChatError, PlugChatUnavailable, ZApiClient
from django_plugchat.conf import Z_API, Account, app_settings, digest_of, secret_id
from django_plugchat.models import DeliveryEvent, Registration, RejectedCallback
from django_plugchat.provider import calls
from django_plugchat.provider.callbacks import MESSAGE_STATUS_CALLBACK
from django_plugchat.redaction import mask_url
from django_plugchat.registering import addresses


def webhooks(with_status: bool, with_connection: bool, *, by_todays_call: bool = False) -> list[str]:
    """The provider's names of those to register: of its calls of 2022, or the keys of PlugChat's one call of today."""
    single = (calls.DELIVERY_WEBHOOK,), (calls.MESSAGE_STATUS_WEBHOOK,), calls.CONNECTION_WEBHOOKS
    today = calls.DELIVERY_KEYS, (calls.MESSAGE_STATUS_KEY,), (calls.DISCONNECTION_KEY,)
    delivery, status, connection = today if by_todays_call else single
    return [*delivery, *(status if with_status else ()), *(connection if with_connection else ())]


class Job:
    """Registers one account, by ``begin``, ``run`` and ``finish``, and then says what became of it, for people."""

    def __init__(
        self, account: Account, webhooks: list[str], url: str | None = None, *, others: Mapping[str, str] = {}
    ) -> None:
        """Decides all that can be before the provider is asked. ``account`` has its token.

        ``others`` are the URLs of webhooks that are not this app's, by the keys of today's call. Raises ValueError.
        """
        self.account, self.webhooks, self.others, self._given = account, webhooks, others, url
        self.client = _client_of(account)
        self.is_todays_call = webhooks[0] in calls.UPDATE_WEBHOOKS_KEYS
        if self.is_todays_call and isinstance(self.client, ZApiClient):
            raise ValueError(_("update-webhooks is a call of PlugChat; Z-API has none like it."))
        self.url, self.secret_id, self.is_secret_new = target_of(account, url)
        #: The webhooks whose URL the provider took, by its names.
        self.taken: list[str] = []
        #: For certain: as long as nobody is asked, and when the provider says so.
        self.is_refused = True
        #: What keeps callbacks from coming; and what is not proven or not noted.
        self.problems: list[str] = []
        self.warnings: list[str] = []

    @property
    def urls(self) -> dict[str, str]:
        """By webhook. They hold secrets."""
        return dict.fromkeys(self.webhooks, self.url) | dict(self.others)

    def described(self, webhooks: Iterable[str]) -> str:
        """What is registered, for people: without a secret, and of the webhooks of others without their URLs."""
        names = [_("%(webhook)s as given") % {"webhook": name} if name in self.others else name for name in webhooks]
        used = self.secret_id or (_("a new one") if self.is_secret_new else _("none of this account"))
        text = _("%(url)s (secret: %(id)s) for %(webhooks)s")
        return text % {"url": mask_url(self.url), "id": used, "webhooks": ", ".join(names)}

    def begin(self, *, waits: bool = False) -> None:
        """Make the secret, if it is a new one; with ``waits``, ``heard`` knows what came since. Raises ValueError."""
        if self.is_secret_new:
            secret = accounts.new_secret(self.account.alias)
            self.url, self.secret_id = addresses.url_with(secret, self._given), secret_id(secret)
        if waits:
            if not self.secret_id:
                text = _("The URL holds no secret of the account, so its callbacks can't be told. Leave out --wait.")
                raise ValueError(text)
            # Keys, not times: the clock of the host that stores callbacks may differ.
            self._newest_event, self._newest_rejected = map(_newest_key, (DeliveryEvent, RejectedCallback))

    def run(self) -> None:
        """Ask the provider until it refuses. The database is not touched, so any thread may do this."""
        self.is_refused = False
        try:
            if isinstance(self.client, PlugChatClient) and self.is_todays_call:
                self.client.update_webhooks(self.urls)
                self.taken += self.urls
            else:
                for webhook in self.webhooks:
                    self.client.update(webhook, self.url)
                    self.taken.append(webhook)
        except PlugChatError as error:
            self.problems.append(str(error))
            self.is_refused = not isinstance(error, PlugChatUnavailable)
        if isinstance(self.client, ZApiClient) and self.taken:
            self._compare(self.client)

    def _compare(self, client: ZApiClient) -> None:
        """Ask the instance what it has, and say what keeps callbacks from coming."""
        try:
            registered = client.registered()
        except PlugChatError as error:
            self.warnings.append(_("What the instance has could not be compared: %(problem)s") % {"problem": error})
            return
        for webhook in self.taken:
            key, kept_back = calls.URL_KEY_AND_FILTER[webhook]
            values = {"webhook": webhook, "filter": kept_back}
            if key not in registered:
                self.warnings.append(_("The instance does not say which URL it has for %(webhook)s.") % values)
            elif registered[key] != self.url:
                text = _("The instance has another URL for %(webhook)s. Look in the provider's panel, and try again.")
                self.problems.append(text % values)
            if kept_back in registered.get(calls.FILTERS_KEY, ()):
                text = _("The instance keeps callbacks of %(webhook)s back by its %(filter)s. Switch that off there.")
                self.problems.append(text % values)

    def finish(self) -> None:
        """Note what was registered. A new secret that the provider refused for certain is retired."""
        try:
            if self.is_secret_new and not self.taken:
                text = _("The new secret %(id)s was kept: the provider may have taken its address.")
                if self.is_refused:
                    accounts.retire(self.account.alias, self.secret_id)
                    text = _("The new secret %(id)s was retired again.")
                self.problems.append(text % {"id": self.secret_id})
            for webhook in self.taken:
                used = self.secret_id if self.urls[webhook] == self.url else ""
                values = {"secret_id": used, "registered_at": timezone.now()}
                rows = Registration.objects.for_writing()
                rows.update_or_create(values, account=self.account.alias, webhook=webhook)
        except Exception as error:
            # Whatever the database is like, the provider has the URL.
            text = _("This could not be noted in the database (%(error)s).")
            self.warnings.append(text % {"error": type(error).__name__})

    def heard(self, callback_type: str) -> str:
        """That one of this type has come by the secret, for people; "" while there is none."""
        values = {"type": callback_type, "id": self.secret_id}
        ours = {"account": self.account.alias, "secret_id": self.secret_id}
        events = DeliveryEvent.objects.for_writing().filter(pk__gt=self._newest_event, type=callback_type, **ours)
        if events.exists():
            return _("a %(type)s with the secret %(id)s has come and is stored.") % values
        rejected = RejectedCallback.objects.for_writing().filter(pk__gt=self._newest_rejected, **ours)
        for body in rejected.values_list("body", flat=True):
            # What can't be read counts for deliveries: the provider calls.
            is_status = MESSAGE_STATUS_CALLBACK.encode() in bytes(body)
            if is_status == (callback_type == MESSAGE_STATUS_CALLBACK):
                return _("a %(type)s with the secret %(id)s has come and was refused. The admin says why.") % values
        return ""


def _newest_key(model: Any) -> int:
    return model.objects.for_writing().aggregate(newest=Max("pk"))["newest"] or 0


def _client_of(account: Account) -> PlugChatClient | ZApiClient:
    if not account.token:
        raise ValueError(_("There is no TOKEN. Put the account's API token there."))
    options: dict[str, Any] = {"token": account.token, "timeout": app_settings.api_timeout}
    if account.provider == Z_API:
        options |= {"instance": account.instance, "client_token": account.client_token}
        return ZApiClient(base_url=account.api_url or calls.Z_API_URL, **options)
    return PlugChatClient(base_url=account.api_url or app_settings.api_url, **options)


def target_of(account: Account, url: str | None = None) -> tuple[str, str, bool]:
    """Where the provider is to call for an account, the id of the account's secret in it ("" for none), and whether a
    secret has yet to be made, for whose place the URL has one that is not accepted. Raises UnusableURLError.
    """
    target = addresses.url_with("a-new-secret", url)
    if target == url:
        segments = urlsplit(target).path.split("/")
        held = (secret_id(each) for each in segments if accounts.caller(digest_of(each)) == account.alias)
        return target, next(held, ""), False
    if account.alias not in app_settings.accounts:
        return target, "", True
    if not account.webhook_secrets:
        text = _("The account has no secret. Make one with %(command)s and put it in its WEBHOOK_SECRETS.")
        raise addresses.UnusableURLError(text % {"command": addresses.GENERATOR})
    secret = account.webhook_secrets[0]
    return addresses.url_with(secret, url), secret_id(secret), False


def missing(candidates: Iterable[Account], webhooks: list[str]) -> list[Account]:
    """The accounts whose present secret is not registered for all these webhooks."""
    registered = set(Registration.objects.for_writing().values_list("account", "secret_id", "webhook"))
    present = {alias: ids[0] for alias, ids in accounts.secret_ids().items() if ids}
    return [
        account
        for account in candidates
        if not registered.issuperset((account.alias, present.get(account.alias), name) for name in webhooks)
    ]
