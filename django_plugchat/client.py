"""The APIs of PlugChat and of Z-API, as far as this app needs them: registering the URLs that they call."""

import re
import threading
from collections.abc import Mapping
from typing import Any

import requests
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from django_plugchat.conf import DEFAULTS
from django_plugchat.provider.calls import (
    CONNECTION_WEBHOOKS,
    DELIVERY_WEBHOOK,
    FILTERS_KEY,
    ME,
    MESSAGE_STATUS_WEBHOOK,
    UPDATE_WEBHOOKS,
    URL_KEY_AND_FILTER,
    Z_API_URL,
)
from django_plugchat.redaction import MASK
from django_plugchat.registering.addresses import PRINTABLE, split_base_url
from django_plugchat.registering.exchange import Answer, Headers, NoWholeAnswer, exchange, reason

#: An instance or a token of Z-API, which are parts of a path.
_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._~-]*")


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

    def __init__(self, *, base_url: str, timeout: float, headers: dict[str, str], path: str = "") -> None:
        """``path`` comes before the name of each call."""
        if not 0 < timeout <= threading.TIMEOUT_MAX:
            raise ValueError(_("The timeout must be a positive number of seconds."))
        parts = split_base_url(base_url, allow_loopback_http=True)
        self.base_url = base_url.rstrip("/")
        self.host = parts.netloc
        self.timeout = timeout
        self._headers, self._path = headers, path
        # Plain HTTP never leaves this machine, so no proxy gets to see it.
        self._trust_env = parts.scheme == "https"

    @sensitive_variables("url")
    def update_delivery_webhook(self, url: str) -> None:
        """Have this URL called about messages that were handed to WhatsApp. Raises PlugChatError."""
        self.update(DELIVERY_WEBHOOK, url)

    @sensitive_variables("url")
    def update_message_status_webhook(self, url: str) -> None:
        """Have this URL called about what became of messages on WhatsApp. Raises PlugChatError."""
        self.update(MESSAGE_STATUS_WEBHOOK, url)

    @sensitive_variables("url")
    def update_connection_webhooks(self, url: str) -> None:
        """Have this URL called when the number is connected and disconnected: two calls. Raises PlugChatError."""
        for webhook in CONNECTION_WEBHOOKS:
            self.update(webhook, url)

    @sensitive_variables("url")
    def update(self, webhook: str, url: str) -> None:
        """The call of one webhook, by the provider's name. Raises PlugChatError."""
        self._request("PUT", webhook, {"value": url})

    def shown_url(self, call: str) -> str:
        """Where one of the calls is, for people."""
        return self._url(call)

    def _url(self, call: str) -> str:
        base = self.base_url.removesuffix("/whatsapp") if call == UPDATE_WEBHOOKS else self.base_url
        return f"{base}{self._path}/{call}"

    @sensitive_variables()
    def _request(self, method: str, call: str, body: dict[str, str] | None = None) -> Answer:
        answer = self._answer_or_error(method, call, body)
        if isinstance(answer, PlugChatError):
            # Without a cause or a context: the frames of requests hold the token and the URL.
            raise answer
        return answer

    @sensitive_variables()
    def _answer_or_error(self, method: str, call: str, body: dict[str, str] | None) -> Answer | PlugChatError:
        values = {"provider": self.provider, "host": self.host, "keys": self.keys, "seconds": self.timeout}
        options: dict[str, Any] = {"timeout": self.timeout, "pauses": self.pauses, "trust_env": self._trust_env}
        try:
            answer = exchange(method, self._url(call), auth=Headers(self._headers), json=body, **options)
        except (NoWholeAnswer, requests.Timeout):
            text = _(
                "%(provider)s did not give a whole answer within %(seconds)s seconds, so it may or may not have taken "
                "the URL. Try again later, or raise API_TIMEOUT."
            )
            return PlugChatUnavailable(text % values)
        except (OSError, ValueError) as error:
            text = _(
                "%(provider)s can't be reached at %(host)s (%(reason)s). Check the network, API_URL, and the proxy and "
                "REQUESTS_CA_BUNDLE in the environment, and try again."
            )
            return PlugChatUnavailable(text % (values | {"reason": reason(error)}))
        kind, text = _judge(answer)
        return kind(text % (values | {"status": answer.status})) if kind else answer


def _judge(answer: Answer) -> tuple[type[PlugChatError] | None, str]:
    """What kind of an error an answer is, if it is one, and what to say."""
    status, content = answer.status, answer.json()
    is_yes = 200 <= status < 300
    # The seed's page documents no body, so nothing but a no and a page for people is taken for a refusal.
    is_no = is_yes and isinstance(content, dict) and content.get("value") is False
    # The engine answers 400 where its Client-Token is missing.
    is_without_client_token = status == 400 and b"client-token" in answer.body.lower()
    is_busy = _("%(provider)s is busy or out of order (HTTP %(status)s). Try again later.")
    request = PlugChatRequestError
    for is_so, kind, text in (
        (is_no, request, _("%(provider)s refused the URL. Check that it is a public https:// address, and %(keys)s.")),
        (is_yes and answer.is_page(), request, _("%(host)s answers, but not the API of %(provider)s. Check API_URL.")),
        (is_yes, None, ""),
        (
            status in {401, 403} or is_without_client_token,
            PlugChatAuthError,
            _("%(provider)s refused the credentials (HTTP %(status)s). Check %(keys)s."),
        ),
        (status == 429, request, is_busy),
        (500 <= status < 600, PlugChatUnavailable, is_busy),
        (
            300 <= status < 400,
            request,
            _("%(host)s redirects elsewhere (HTTP %(status)s): the token is not sent there. Correct API_URL."),
        ),
    ):
        if is_so:
            return kind, text
    return request, _("%(provider)s refused the request (HTTP %(status)s). Check API_URL, %(keys)s and the URL.")


class PlugChatClient(_Client):
    """Talks to PlugChat's API with one account's token."""

    provider = "PlugChat"
    keys = "TOKEN"

    def __init__(self, *, token: str, base_url: str = DEFAULTS["API_URL"], timeout: float = 10) -> None:
        """Raises ValueError for arguments that can't work, without quoting the token."""
        if not PRINTABLE.fullmatch(token):
            raise ValueError(_("The token must be of printable ASCII characters, without spaces, and not empty."))
        super().__init__(base_url=base_url, timeout=timeout, headers={"Authorization": token})

    @sensitive_variables("urls")
    def update_webhooks(self, urls: Mapping[str, str]) -> None:
        """Today's call: URLs by ``UPDATE_WEBHOOKS_KEYS``. Raises PlugChatError.

        What PlugChat does with the keys that are left out is not known.
        """
        self._request("PUT", UPDATE_WEBHOOKS, dict(urls))


class ZApiClient(_Client):
    """Talks to Z-API, or to another host of its engine, about one instance."""

    provider = "Z-API"
    keys = "INSTANCE, TOKEN, CLIENT_TOKEN"

    def __init__(
        self, *, instance: str, token: str, client_token: str = "", base_url: str = Z_API_URL, timeout: float = 10
    ) -> None:
        """Raises ValueError for arguments that can't work, without quoting a token."""
        if not _SEGMENT.fullmatch(instance) or not _SEGMENT.fullmatch(token):
            raise ValueError(_("The instance and its token must be given as Z-API's panel shows them."))
        if client_token and not PRINTABLE.fullmatch(client_token):
            raise ValueError(_("The Client-Token must be of printable ASCII characters, without spaces."))
        super().__init__(
            base_url=base_url,
            timeout=timeout,
            headers={"Client-Token": client_token} if client_token else {},
            path=f"/instances/{instance}/token/{token}",
        )

    def shown_url(self, call: str) -> str:
        before, _token, call = self._url(call).rsplit("/", 2)
        return f"{before}/{MASK}/{call}"

    def registered(self) -> dict[str, Any]:
        """Which URL the instance has for each webhook, as ``deliveryCallbackUrl`` and the like, and which types of
        callbacks it keeps back all the same, as ``callbackTypeFilters``. Raises PlugChatError.

        The URLs hold secrets. All else that the instance says is left out, first of all its token.
        """
        content = self._request("GET", ME).json()
        kinds: dict[str, Any] = {key: str | None for key, _kept_back in URL_KEY_AND_FILTER.values()}
        kinds[FILTERS_KEY] = list
        known = content if isinstance(content, dict) else {}
        return {key: known[key] for key, kind in kinds.items() if key in known and isinstance(known[key], kind)}
