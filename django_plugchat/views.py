from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from django.db import Error, connections, transaction
from django.http import HttpResponse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables
from rest_framework import status
from rest_framework.exceptions import APIException, NotFound, ParseError, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler

from django_plugchat import accounts, bodies, recording, serializers, statements
from django_plugchat.models import RejectedCallback
from django_plugchat.phones.numbers import mask_id
from django_plugchat.redaction import hide_secret, redact

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z](?:[A-Za-z_-]|[0-9](?![0-9]{3})){0,63}")


class Unavailable(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = _("The callback could not be stored. Try again later.")
    default_code = "unavailable"
    wait = 30  # seconds


class CallbackView(APIView):
    """Takes the provider's callbacks. Its answers, in order: ``docs/reference/answers.md``."""

    # A project's DRF defaults must not leak in.
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    parser_classes = ()
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = DefaultContentNegotiation
    versioning_class = None
    metadata_class = None
    http_method_names = ["post"]

    def initial(self, request: Request, *args: Any, digest: str = "", **kwargs: Any) -> None:
        # Instead of DRF's steps: each of them asks a setting of the project, and a wrong secret comes before a wrong
        # method. The URL's converter has made a digest of the secret: no frame and no log needs to hold it from here.
        hide_secret(request._request)
        request.accepted_renderer = JSONRenderer()
        request.accepted_media_type = JSONRenderer.media_type
        caller = accounts.caller(digest, statements.trying_again) if digest else None
        if caller is None:
            raise NotFound
        self.receipt = recording.Receipt.of(caller)

    def post(self, request: Request, **kwargs: Any) -> HttpResponse:
        body = bodies.read(request._request)
        try:
            body = bodies.decompressed(body, bodies.coding_of(request._request))
            return _answer(self.take(body))
        except bodies.NotAsEncoded as refusal:
            self.keep(refusal.content, refusal)
            raise
        except (ParseError, ValidationError, recording.ContentRefused) as refusal:
            self.keep(body, refusal)
            raise

    def take(self, body: bytes) -> str:
        said = serializers.read(body)
        if isinstance(said, serializers.Ignored):
            self.log_ignored(said)
            if said.is_unknown_status:
                recording.reject(body, self.receipt, reason=RejectedCallback.Reason.UNKNOWN_STATUS.value, errors={})
            return "ignored"
        if isinstance(said, serializers.ConnectionReport):
            is_new = recording.record_connection(said, self.receipt)
        else:
            is_new = bool(recording.record(said, self.receipt))
        return "recorded" if is_new else "duplicate"

    def keep(self, body: bytes, refusal: APIException) -> None:
        codes = refusal.get_codes()
        reason = codes if isinstance(codes, str) else RejectedCallback.Reason.INVALID.value
        errors = codes if isinstance(codes, dict) else {}
        kept = recording.reject(body, self.receipt, reason=reason, errors=errors)
        logger.warning(
            "Refused a callback for account %r: %s.%s",
            self.receipt.account,
            " ".join([reason, *errors]),
            "" if kept else " Not kept: MAX_REJECTED are kept already.",
        )

    def log_ignored(self, ignored: serializers.Ignored) -> None:
        if not ignored.is_known:
            # Only what is a name: the caller could write anything there, numbers and secrets too.
            name = mask_id(redact(ignored.name)) if _NAME.fullmatch(ignored.name) else "(not a name)"
            logger.warning("Ignored a callback of an unknown kind for account %r: %s", self.receipt.account, name)
        elif not ignored.name:
            logger.info("Ignored a conversation for account %r.", self.receipt.account)

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, Error):
            # Its text may quote the row. Nobody is known to call where the account could not be looked up.
            account = self.receipt.account if hasattr(self, "receipt") else None
            logger.error("A callback for account %r was not stored: %s", account, type(exc).__name__)
            exc = Unavailable()
        bodies.drain(self.request._request)
        return super().handle_exception(exc)

    def get_exception_handler(self) -> Callable[..., Response | None]:
        # Not the project's EXCEPTION_HANDLER.
        return _without_rollback


def _without_rollback(exc: Exception, context: Any) -> Response | None:
    """DRF's own handler, which would also roll back the transaction around the view: that is somebody else's."""
    before = [(connection, connection.needs_rollback) for connection in connections.all(initialized_only=True)]
    response = exception_handler(exc, context)
    for connection, needs_rollback in before:
        connection.needs_rollback = needs_rollback
    return response


def _answer(said: str) -> HttpResponse:
    return HttpResponse(b'{"status":"%s"}' % said.encode(), content_type="application/json")


def _never_atomic(view: Any) -> Any:
    # ATOMIC_REQUESTS would undo the RejectedCallback of a 400, and acknowledge an event before it is committed.
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


# Outermost, so that a report of whatever fails below, in a project's own code too, shows no variable of any frame.
callback = _never_atomic(sensitive_variables()(CallbackView.as_view()))
