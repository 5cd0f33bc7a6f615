"""PlugChat's API, as far as this app needs it: registering the URL that it calls after sending a message."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from itertools import islice
from typing import Any, NamedTuple

import requests
from django.utils.http import parse_http_date_safe
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from requests.auth import AuthBase

from django_plugchat import __version__
from django_plugchat.addresses import PRINTABLE, split_base_url
from django_plugchat.conf import DEFAULTS

_TRANSIENT = {429, 502, 503, 504}


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


class _Failure(NamedTuple):
    error: PlugChatError
    #: Seconds to wait at least before it may be tried again; None when that is no use.
    retry_after: float | None = None


class PlugChatClient:
    """Talks to PlugChat's API with one account's token.

    The provider facts are those of its page "Ao enviar" (on-message-send). Certificates are always verified and
    redirects never followed: either could hand the token to somebody else.
    """

    retries = 3
    #: Seconds before the first retry, doubled for each further one.
    backoff = 0.5
    #: Seconds that a Retry-After may ask for.
    longest_wait = 30

    def __init__(self, *, token: str, base_url: str = DEFAULTS["API_URL"], timeout: float = 10) -> None:
        """Raises ValueError for arguments that can't work, without quoting the token."""
        if not PRINTABLE.fullmatch(token):
            raise ValueError(_("The token must be of printable ASCII characters, without spaces, and not empty."))
        if not 0 < timeout <= threading.TIMEOUT_MAX:
            raise ValueError(_("The timeout must be a positive number of seconds."))
        parts = split_base_url(base_url, allow_loopback_http=True)
        self.url = f"{base_url.rstrip('/')}/update-webhook-delivery"
        self.host = parts.netloc
        self.timeout = timeout
        self._auth = _BareToken(token)
        # Plain HTTP never leaves this machine, so no proxy gets to see it.
        self._trust_env = parts.scheme == "https"

    @sensitive_variables("url")
    def update_delivery_webhook(self, url: str) -> None:
        """Have PlugChat call this URL about messages that it handed to WhatsApp. Raises PlugChatError."""
        failure = self._put(url)
        for attempt in range(self.retries):
            if failure is None or failure.retry_after is None:
                break
            jitter = random.uniform(1, 1.25)  # noqa: S311
            self.sleep(max(self.backoff * 2**attempt * jitter, failure.retry_after))
            failure = self._put(url)
        if failure is not None:
            # Without a cause or a context: the frames of requests hold the token and the URL.
            raise failure.error

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    @sensitive_variables("url")
    def _put(self, url: str) -> _Failure | None:
        try:
            with requests.Session() as session:
                session.trust_env = self._trust_env
                with session.put(
                    self.url,
                    json={"value": url},
                    auth=self._auth,
                    headers={"User-Agent": f"django-plugchat/{__version__}"},
                    timeout=self.timeout,
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    return self._judge(response)
        except requests.exceptions.SSLError as error:
            return self._unavailable(
                _(
                    "There is no secure connection to %(host)s (%(reason)s). Check API_URL, and set "
                    "REQUESTS_CA_BUNDLE where a proxy uses certificates of its own."
                ),
                error,
            )
        except requests.exceptions.ReadTimeout:
            return self._no_answer()
        except requests.exceptions.ConnectionError as error:
            return self._unavailable(
                _("PlugChat can't be reached at %(host)s (%(reason)s). Check the network and API_URL, and try again."),
                error,
                retry_after=0,
            )
        except (OSError, ValueError) as error:
            return self._unavailable(
                _(
                    "The request to %(host)s could not be made (%(reason)s). Check API_URL, and the proxy and "
                    "REQUESTS_CA_BUNDLE in the environment."
                ),
                error,
            )

    def _unavailable(self, text: str, error: Exception, retry_after: float | None = None) -> _Failure:
        return _Failure(PlugChatUnavailable(text % {"host": self.host, "reason": _reason(error)}), retry_after)

    def _no_answer(self) -> _Failure:
        # Not tried again: a provider that hangs would keep its caller four times as long.
        return _Failure(
            PlugChatUnavailable(
                _(
                    "PlugChat did not give a whole answer within %(seconds)s seconds, so it may or may not have taken "
                    "the URL. Try again later, or raise API_TIMEOUT."
                )
                % {"seconds": self.timeout}
            )
        )

    def _judge(self, response: requests.Response) -> _Failure | None:
        status = response.status_code
        if status == 200:
            return self._judge_answer(response)
        retry_after = _retry_after(response) if status in _TRANSIENT else None
        values: dict[str, Any] = {"status": status, "host": self.host}
        kind: type[PlugChatError] = PlugChatRequestError
        if status in {401, 403}:
            kind, text = (
                PlugChatAuthError,
                _("PlugChat refused the token (HTTP %(status)s). Check the account's TOKEN."),
            )
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
            kind, text = PlugChatUnavailable, _("PlugChat is out of order (HTTP %(status)s). Try again later.")
        else:
            text = _("What answered (HTTP %(status)s) is not PlugChat's API. Check API_URL.")
        if retry_after is not None and retry_after > self.longest_wait:
            text = _("PlugChat asks to wait %(seconds)s seconds (HTTP %(status)s). Try again after that.")
            values["seconds"] = f"{retry_after:.0f}"
            retry_after = None
        return _Failure(kind(text % values), retry_after)

    def _judge_answer(self, response: requests.Response) -> _Failure | None:
        try:
            body = b"".join(islice(response.iter_content(1024), 64))
        except OSError:
            return self._no_answer()
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        value = answer.get("value") if isinstance(answer, dict) else None
        if value is True:
            return None
        if value is False:
            return _Failure(
                PlugChatRequestError(
                    _("PlugChat refused the URL. Check that it is a public https:// address, and the account's TOKEN.")
                )
            )
        return _Failure(
            PlugChatRequestError(
                _("What %(host)s answered is not PlugChat's API. Check API_URL.") % {"host": self.host}
            )
        )


def _retry_after(response: requests.Response) -> float:
    """Seconds from now, where the provider names them."""
    value = response.headers.get("Retry-After", "")
    if re.fullmatch(r"[0-9]+", value):
        return float(value)
    moment = parse_http_date_safe(value)
    return 0 if moment is None else moment - time.time()


def _reason(error: BaseException) -> str:
    """The innermost error in the system's words. Not its whole text: that may quote what was sent or answered."""
    for inner in (error.__cause__, getattr(error, "reason", None), *error.args):
        if isinstance(inner, BaseException):
            return _reason(inner)
    return getattr(error, "strerror", None) or type(error).__name__
