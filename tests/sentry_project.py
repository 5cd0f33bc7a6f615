"""Errors in a project that sends them to Sentry. For a process of its own, since Sentry patches Django for good."""

import json
import logging
from typing import Any

import django
import sentry_sdk
from django.core.wsgi import get_wsgi_application
from django.db import OperationalError
from django.http import Http404
from django.test import RequestFactory, override_settings
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.transport import Transport

from django_plugchat import redaction

from .payloads import EXAMPLE, URL

SEARCH = f"/admin/django_plugchat/deliveryevent/?q={EXAMPLE['phone']}"


class CapturingTransport(Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Any] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.sent += [item.payload.json for item in envelope.items if item.payload.json]


def raise_quoting_the_body(request: Any, *args: Any, **kwargs: Any) -> Any:
    body, phone = request.body, EXAMPLE["phone"]
    raise OperationalError(f"Failing row contains ({phone}, {body.decode()})")


class RaisingMiddleware:
    """Raises before the view is reached, or after it has answered."""

    after = False

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        if self.after:
            self.get_response(request)
        raise_quoting_the_body(request)


class RaisingAfterMiddleware(RaisingMiddleware):
    after = True


def main() -> list[Any]:
    django.setup()
    transport = CapturingTransport()
    sentry_sdk.init(
        dsn="http://key@localhost/1",
        transport=transport,
        integrations=[DjangoIntegration()],
        # As much as it can send.
        send_default_pii=True,
        include_local_variables=True,
        max_request_body_size="always",
        traces_sample_rate=1.0,
        before_send=redaction.before_send,
        before_send_transaction=redaction.before_send,
    )
    for middleware in (RaisingMiddleware, RaisingAfterMiddleware):
        with override_settings(MIDDLEWARE=[f"{__name__}.{middleware.__name__}"]):
            request("POST", URL)
            request("POST", "/plugchat/callback/some-wrong-secret/")
            request("GET", SEARCH)
    elsewhere(EXAMPLE["phone"])
    sentry_sdk.flush()
    return transport.sent


def request(method: str, path: str) -> None:
    """As a server calls the project."""
    body = json.dumps(EXAMPLE | {"text": "the text of a message"})
    headers = {"z-api-token": "a-token-of-an-instance", "authorization": "Bearer some-credential"}
    made = RequestFactory().generic(method, path, body, content_type="application/json", headers=headers)
    get_wsgi_application()(made.META, lambda status, headers: None)


def elsewhere(phone: str) -> None:
    """In the project's own code, which knows numbers as well."""
    logging.getLogger("shop").error("Called +%s at %s", phone, URL, extra={"numbers": [int(phone), {phone: 1e12}]})
    sentry_sdk.add_breadcrumb(message=f"to {phone}", data={"token": "token-of-norte"})
    sentry_sdk.capture_exception(Http404(phone))
    try:
        int(phone + "x")
    except ValueError as error:
        sentry_sdk.capture_exception(error)
