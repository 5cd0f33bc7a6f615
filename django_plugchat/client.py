"""PlugChat's API, as far as this app needs it: registering the URLs that it calls."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import requests
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from requests.auth import AuthBase

from django_plugchat.conf import DEFAULTS
from django_plugchat.provider.calls import (
    DELIVERY_WEBHOOK,
    MESSAGE_STATUS_WEBHOOK,
    UPDATE_WEBHOOKS,
)
from django_plugchat.registering.addresses import PRINTABLE, split_base_url
from django_plugchat.registering.exchange import LONGEST_WAIT, Answer, BrokenAnswer, TooSlow, exchange, reason


class PlugChatError(Exception):
    """Its text says what to do, and quotes neither token nor registered URL."""


class PlugChatAuthError(PlugChatError):
    """The provider does not take the token."""


class PlugChatRequestError(PlugChatError):
    """The provider refused the request, or what answered is not its API."""


class PlugChatUnavailable(PlugChatError):  # noqa: N818
    """The provider could not be reached, or is out of order."""


class _BareToken(AuthBase):
    # As an auth object rather than a header, which requests would replace by what a .netrc says.
    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self.token
        return request


class PlugChatClient:
    """Talks to PlugChat's API with one account's token.

    Certificates are always verified and redirects never followed: either could hand the token to somebody else.
    """

    retries = 3
    #: Seconds before the second retry, doubled for each further one; the first comes at once.
    backoff = 1.0

    def __init__(self, *, token: str, base_url: str = DEFAULTS["API_URL"], timeout: float = 10) -> None:
        """Raises ValueError for arguments that can't work, without quoting the token."""
        if not PRINTABLE.fullmatch(token):
            raise ValueError(_("The token must be of printable ASCII characters, without spaces, and not empty."))
        if not 0 < timeout <= threading.TIMEOUT_MAX:
            raise ValueError(_("The timeout must be a positive number of seconds."))
        parts = split_base_url(base_url, allow_loopback_http=True)
        self.base_url = base_url.rstrip("/")
        self.host = parts.netloc
        self.timeout = timeout
        self._auth = _BareToken(token)
        # Plain HTTP never leaves this machine, so no proxy gets to see it.
        self._trust_env = parts.scheme == "https"

    def url_of(self, call: str) -> str:
        """Where one of the calls of ``provider`` is."""
        base = self.base_url.removesuffix("/whatsapp") if call == UPDATE_WEBHOOKS else self.base_url
        return f"{base}/{call}"

    @sensitive_variables("url")
    def update_delivery_webhook(self, url: str) -> None:
        """Have PlugChat call this URL about messages that it handed to WhatsApp. Raises PlugChatError."""
        self._put(DELIVERY_WEBHOOK, {"value": url})

    @sensitive_variables("url")
    def update_message_status_webhook(self, url: str) -> None:
        """Have PlugChat call this URL about what became of messages on WhatsApp. Raises PlugChatError."""
        self._put(MESSAGE_STATUS_WEBHOOK, {"value": url})

    @sensitive_variables("urls")
    def update_webhooks(self, urls: Mapping[str, str]) -> None:
        """Today's call: URLs by ``UPDATE_WEBHOOKS_KEYS``. Raises PlugChatError.

        What PlugChat does with the keys that are left out is not known.
        """
        self._put(UPDATE_WEBHOOKS, dict(urls))

    @sensitive_variables()
    def _put(self, call: str, body: dict[str, str]) -> None:
        error = self._error_of(call, body)
        if error is not None:
            # Without a cause or a context: the frames of requests hold the token and the URL.
            raise error

    @sensitive_variables()
    def _error_of(self, call: str, body: dict[str, str]) -> PlugChatError | None:
        try:
            answer = exchange(
                "PUT",
                self.url_of(call),
                timeout=self.timeout,
                retries=self.retries,
                backoff=self.backoff,
                trust_env=self._trust_env,
                json=body,
                auth=self._auth,
            )
        except (TooSlow, BrokenAnswer, requests.Timeout):
            return PlugChatUnavailable(
                _(
                    "PlugChat did not give a whole answer within %(seconds)s seconds, so it may or may not have taken "
                    "the URL. Try again later, or raise API_TIMEOUT."
                )
                % {"seconds": self.timeout}
            )
        except requests.exceptions.SSLError as error:
            text = _(
                "There is no secure connection to %(host)s (%(reason)s). Check API_URL, and set "
                "REQUESTS_CA_BUNDLE where a proxy uses certificates of its own."
            )
            return PlugChatUnavailable(text % {"host": self.host, "reason": reason(error)})
        except requests.ConnectionError as error:
            text = _(
                "PlugChat can't be reached at %(host)s (%(reason)s). Check the network and API_URL, and try again."
            )
            return PlugChatUnavailable(text % {"host": self.host, "reason": reason(error)})
        except (OSError, ValueError) as error:
            text = _(
                "The request to %(host)s could not be made (%(reason)s). Check API_URL, and the proxy and "
                "REQUESTS_CA_BUNDLE in the environment."
            )
            return PlugChatUnavailable(text % {"host": self.host, "reason": reason(error)})
        return self._judge(answer)

    def _judge(self, answer: Answer) -> PlugChatError | None:
        status = answer.status
        kind: type[PlugChatError] = PlugChatUnavailable if 500 <= status < 600 else PlugChatRequestError
        if answer.asks_to_wait:
            text = _("PlugChat asks to wait for longer than %(longest)d seconds (HTTP %(status)s). Try again later.")
        elif 200 <= status < 300:
            return self._judge_yes(answer)
        elif status in {401, 403}:
            kind = PlugChatAuthError
            text = _("PlugChat refused the token (HTTP %(status)s). Check the account's TOKEN.")
        elif 300 <= status < 400:
            text = _(
                "%(host)s redirects elsewhere (HTTP %(status)s), and the token is not sent there. "
                "Set API_URL to the address where the API is now."
            )
        elif status == 429:
            text = _("PlugChat has had too many requests (HTTP 429). Try again in some minutes.")
        elif 400 <= status < 500:
            text = _("PlugChat refused the request (HTTP %(status)s). Check API_URL and the URL to register.")
        elif 500 <= status < 600:
            text = _("PlugChat is out of order (HTTP %(status)s). Try again later.")
        else:
            text = _("What answered (HTTP %(status)s) is not PlugChat's API. Check API_URL.")
        return kind(text % {"status": status, "host": self.host, "longest": LONGEST_WAIT})

    def _judge_yes(self, answer: Answer) -> PlugChatError | None:
        # The seed's page documents no body, so nothing but a no and a page for people is taken for a refusal.
        content = answer.json()
        if isinstance(content, dict) and content.get("value") is False:
            return PlugChatRequestError(
                _("PlugChat refused the URL. Check that it is a public https:// address, and the account's TOKEN.")
            )
        if answer.is_page():
            return PlugChatRequestError(
                _("What %(host)s answered is not PlugChat's API. Check API_URL.") % {"host": self.host}
            )
        return None
