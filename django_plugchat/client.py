"""The APIs of PlugChat and of Z-API, as far as this app needs them: registering the URLs that they call."""

import re
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from django_plugchat.conf import DEFAULTS
from django_plugchat.provider import calls
from django_plugchat.registering.addresses import PRINTABLE, split_url
from django_plugchat.registering.exchange import Answer, exchange

#: An instance or a token of Z-API, which are parts of a path.
_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._~-]*")
#: Answers of a server that may take the same request later.
_PASSING = frozenset({429, 502, 503, 504})
#: Seconds that a Retry-After may ask of somebody who waits in front of a terminal.
_LONGEST_WAIT = 30


class PlugChatError(Exception):
    """Its text says what to do, and quotes neither token nor registered URL."""


class PlugChatAuthError(PlugChatError):
    """The provider does not take the token."""


class PlugChatRequestError(PlugChatError):
    """The provider refused the request, or what answered is not its API."""


class PlugChatUnavailable(PlugChatError):  # noqa: N818
    """The provider could not be reached, or is out of order. It may have taken the request all the same."""


class _Client:
    """Certificates are always verified and redirects never followed: either could hand a token to somebody else."""

    provider: str
    #: The settings that may be why the provider refuses a request.
    keys: str
    #: Seconds before each further attempt.
    pauses: tuple[float, ...] = (0, 1, 2)

    def __init__(self, *, base_url: str, timeout: float, headers: dict[str, str]) -> None:
        if not 0 < timeout <= threading.TIMEOUT_MAX:
            raise ValueError(_("The timeout must be a positive number of seconds."))
        self.host = split_url(base_url, is_base=True, allow_loopback_http=True).netloc
        self.timeout = timeout
        self._base_url, self._headers = base_url.rstrip("/"), headers

    @sensitive_variables()
    def update_delivery_webhook(self, url: str) -> None:
        """Have this URL called about messages that were handed to WhatsApp. Raises PlugChatError."""
        self.update(calls.DELIVERY_WEBHOOK, url)

    @sensitive_variables()
    def update_message_status_webhook(self, url: str) -> None:
        """Have this URL called about what became of messages on WhatsApp. Raises PlugChatError."""
        self.update(calls.MESSAGE_STATUS_WEBHOOK, url)

    @sensitive_variables()
    def update_connection_webhooks(self, url: str) -> None:
        """Have this URL called when the number is connected and disconnected: two calls. Raises PlugChatError."""
        for webhook in calls.CONNECTION_WEBHOOKS:
            self.update(webhook, url)

    @sensitive_variables()
    def update(self, webhook: str, url: str) -> None:
        """The call of one webhook, by the provider's name. Raises PlugChatError."""
        self._request("PUT", webhook, {"value": url})

    def url_of(self, call: str) -> str:
        """Where one of the calls is. Of Z-API it holds the token."""
        base = self._base_url.removesuffix("/whatsapp") if call == calls.UPDATE_WEBHOOKS else self._base_url
        return f"{base}/{call}"

    @sensitive_variables()
    def _request(self, method: str, call: str, body: dict[str, str] | None = None) -> Answer:
        """Asked again after a connection that was refused or closed, and as an answer says, unless that is too late."""
        ask = partial(exchange, method, self.url_of(call), json=body, timeout=self.timeout, headers=self._headers)
        answer = ask()
        for pause in self.pauses:
            asked = answer.headers.get("Retry-After", "")
            wait = int(asked) if re.fullmatch("[1-9][0-9]{0,8}", asked) else pause
            may_pass = answer.trouble == "CONNECTION" or answer.status in _PASSING
            if not may_pass or wait > _LONGEST_WAIT:
                break
            time.sleep(wait)
            answer = ask()
        if problem := _problem_of(answer):
            kind, text = problem
            values = {"provider": self.provider, "host": self.host, "keys": self.keys, "seconds": self.timeout}
            raise kind(text % (values | answer._asdict()))
        return answer


def _problem_of(answer: Answer) -> tuple[type[PlugChatError], str] | None:
    """What kind of an error an answer is, if it is one, and what to say."""
    if answer.trouble == "TIMEOUT":
        text = _("%(provider)s gave no whole answer within %(seconds)s seconds, but may have the URL. Try again.")
        return PlugChatUnavailable, text
    if answer.trouble:
        text = _("%(provider)s can't be reached at %(host)s (%(reason)s). See API_URL, proxy, REQUESTS_CA_BUNDLE.")
        return PlugChatUnavailable, text
    status, content = answer.status, answer.json()
    if 200 <= status < 300:
        # The seed's page documents no body, so nothing but a no and a page for people is taken for a refusal.
        if isinstance(content, dict) and content.get("value") is False:
            text = _("%(provider)s refused the URL. Check that it is a public https:// address, and %(keys)s.")
            return PlugChatRequestError, text
        if answer.is_page():
            return PlugChatRequestError, _("%(host)s answers, but not the API of %(provider)s. Check API_URL.")
        return None
    # The engine answers 400 where its Client-Token is missing.
    if status in {401, 403} or (status == 400 and b"client-token" in answer.body.lower()):
        return PlugChatAuthError, _("%(provider)s refused the credentials (HTTP %(status)s). Check %(keys)s.")
    if status == 429 or 500 <= status < 600:
        text = _("%(provider)s is busy or out of order (HTTP %(status)s). Try again later.")
        return PlugChatRequestError if status == 429 else PlugChatUnavailable, text
    text = _("%(provider)s refused the request (HTTP %(status)s). Check API_URL, %(keys)s and the URL.")
    return PlugChatRequestError, text


class PlugChatClient(_Client):
    """Talks to PlugChat's API with one account's token."""

    provider = "PlugChat"
    keys = "TOKEN"

    def __init__(self, *, token: str, base_url: str = DEFAULTS["API_URL"], timeout: float = 10) -> None:
        """Raises ValueError for arguments that can't work, without quoting the token."""
        if not PRINTABLE.fullmatch(token):
            raise ValueError(_("The token must be of printable ASCII characters, without spaces, and not empty."))
        super().__init__(base_url=base_url, timeout=timeout, headers={"Authorization": token})

    @sensitive_variables()
    def update_webhooks(self, urls: Mapping[str, str]) -> None:
        """Today's call, by ``UPDATE_WEBHOOKS_KEYS``; what becomes of those left out is open. Raises PlugChatError."""
        self._request("PUT", calls.UPDATE_WEBHOOKS, dict(urls))


class ZApiClient(_Client):
    """Talks to Z-API, or to another host of its engine, about one instance."""

    provider = "Z-API"
    keys = "INSTANCE, TOKEN, CLIENT_TOKEN"

    def __init__(
        self, *, instance: str, token: str, client_token: str = "", base_url: str = calls.Z_API_URL, timeout: float = 10
    ) -> None:
        """Raises ValueError for arguments that can't work, without quoting a token."""
        if not _SEGMENT.fullmatch(instance) or not _SEGMENT.fullmatch(token):
            raise ValueError(_("The instance and its token must be given as Z-API's panel shows them."))
        if client_token and not PRINTABLE.fullmatch(client_token):
            raise ValueError(_("The Client-Token must be of printable ASCII characters, without spaces."))
        headers = {"Client-Token": client_token} if client_token else {}
        base_url = f"{base_url.rstrip('/')}/instances/{instance}/token/{token}"
        super().__init__(base_url=base_url, timeout=timeout, headers=headers)

    def registered(self) -> dict[str, Any]:
        """Which URL the instance has for each webhook, as ``deliveryCallbackUrl`` and the like, and what types it keeps
        back, as ``callbackTypeFilters``. The URLs hold secrets; its token is left out. Raises PlugChatError.
        """
        content = self._request("GET", calls.ME).json()
        kinds: dict[str, Any] = {key: str | None for key, _kept_back in calls.URL_KEY_AND_FILTER.values()}
        kinds[calls.FILTERS_KEY] = list
        said = content if isinstance(content, dict) else {}
        return {key: value for key, value in said.items() if key in kinds and isinstance(value, kinds[key])}
