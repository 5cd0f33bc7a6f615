from __future__ import annotations

import logging
import re
from typing import Any

from django.db import Error, connections, transaction
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException, NotFound, ParseError, UnsupportedMediaType, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_plugchat.conf import app_settings, secret_id
from django_plugchat.log import redact
from django_plugchat.models import DeliveryEvent, RejectedCallback, refuses_content
from django_plugchat.parsers import parse
from django_plugchat.serializers import OTHER_CALLBACK_TYPES, event_values, other_type

logger = logging.getLogger(__name__)


class TooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = _("The body is too large.")
    default_code = "too_large"


class LengthRequired(APIException):
    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_detail = _("Send a Content-Length.")
    default_code = "length_required"


class Unavailable(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = _("The callback could not be stored. Try again later.")
    default_code = "unavailable"
    wait = 30  # seconds


class DatabaseRefused(APIException):
    status_code = status.HTTP_400_BAD_REQUEST
    default_detail = _("The database can't store this callback.")
    default_code = RejectedCallback.Reason.DATABASE


def read_body(request: HttpRequest) -> bytes:
    """The whole body, at most ``MAX_BODY_BYTES`` of it in memory, whatever DATA_UPLOAD_MAX_MEMORY_SIZE is.

    Raises TooLarge; LengthRequired for a chunked body that the server does not hand over complete; ParseError when
    the client goes away.
    """
    limit = app_settings.max_body_bytes
    stream: Any = request
    declared = request.META.get("CONTENT_LENGTH")
    if declared:
        if re.fullmatch(r"[0-9]+", declared) and float(declared) > limit:
            raise TooLarge
    elif request.META.get("wsgi.input_terminated"):
        # Django reads nothing where no length is declared, but this server ends the stream itself.
        stream = request.META["wsgi.input"]
    elif "HTTP_TRANSFER_ENCODING" in request.META and "wsgi.input" in request.META:
        raise LengthRequired
    body = b""
    try:
        while len(body) <= limit and (chunk := stream.read(limit + 1 - len(body))):
            body += chunk
    except Exception:
        # A client that went away, or broke the chunks: each server has exceptions of its own, which may quote the body.
        raise ParseError(_("The body ended early.")) from None
    if len(body) > limit:
        raise TooLarge
    return body


class CallbackView(APIView):
    """Takes the provider's delivery callbacks. In the order in which they are decided:

    ===  =================================================================================
    404  unknown secret, or any other path below ``callback/``
    405  a method other than POST
    415  a content type other than ``application/json``
    411  no declared length, and the server can't hand the body over complete
    413  larger than ``MAX_BODY_BYTES``
    200  ``{"status": "ignored"}``: another type of callback, not stored
    400  not a usable callback: kept as a ``RejectedCallback``
    200  ``{"status": "recorded"}``: a new ``DeliveryEvent``
    200  ``{"status": "duplicate"}``: counted on the event that said the same
    503  the database failed: nothing was stored, ``Retry-After`` says when to try again
    ===  =================================================================================
    """

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

    def initial(self, request: Request, *args: Any, secret: str = "", **kwargs: Any) -> None:
        # Instead of DRF's steps: each of them asks a setting of the project, and a wrong secret comes before a wrong
        # method.
        request.accepted_renderer = JSONRenderer()
        request.accepted_media_type = JSONRenderer.media_type
        account = app_settings.account_for_secret(secret)
        if account is None:
            raise NotFound
        self.account, self.secret_id = account.alias, secret_id(secret)

    def post(self, request: Request, **kwargs: Any) -> Response:
        http_request: HttpRequest = request._request
        if http_request.content_type != "application/json":
            raise UnsupportedMediaType(http_request.content_type or "")
        body = read_body(http_request)
        try:
            parsed = parse(body)
            if kind := other_type(parsed):
                self.log_unknown(kind)
                return Response({"status": "ignored"})
            event = self.record(event_values(parsed))
        except (ParseError, ValidationError, DatabaseRefused) as refusal:
            self.keep_rejected(body, refusal)
            raise
        return Response({"status": "recorded" if event else "duplicate"})

    def record(self, values: dict[str, Any]) -> DeliveryEvent | None:
        try:
            return DeliveryEvent.objects.record(values, account=self.account, secret_id=self.secret_id)
        except Error as error:
            if refuses_content(error):
                raise DatabaseRefused from None
            raise

    def keep_rejected(self, body: bytes, refusal: APIException) -> None:
        codes = refusal.get_codes()
        reason = codes if isinstance(codes, str) else RejectedCallback.Reason.INVALID
        errors = codes if isinstance(codes, dict) else {}
        kept = RejectedCallback.objects.record(
            account=self.account, secret_id=self.secret_id, body=body, reason=reason, errors=errors
        )
        logger.warning(
            "Refused a callback for account %r: %s%s.%s",
            self.account,
            reason,
            "".join(f" {field}" for field in errors),
            "" if kept else " Not kept: MAX_REJECTED are kept already.",
        )

    def log_unknown(self, kind: str) -> None:
        if kind not in OTHER_CALLBACK_TYPES:
            # Only what is a name: the caller could write anything there, numbers and secrets too.
            name = (
                redact(kind) if re.fullmatch(r"[A-Za-z](?:[A-Za-z_]|[0-9](?![0-9]{3})){0,63}", kind) else "(not a name)"
            )
            logger.warning("Ignored a callback of an unknown type for account %r: %s", self.account, name)

    def handle_exception(self, exc: Exception) -> Response:
        # Not the project's EXCEPTION_HANDLER; nor DRF's, which rolls back what somebody else's transaction holds.
        if isinstance(exc, Error):
            # Its text may quote the row.
            logger.error("A callback for account %r was not stored: %s", self.account, type(exc).__name__)
            exc = Unavailable()
        if not isinstance(exc, APIException):
            raise exc
        detail = exc.detail if isinstance(exc.detail, dict | list) else {"detail": exc.detail}
        response = Response(detail, status=exc.status_code)
        if isinstance(exc, Unavailable):
            response.headers["Retry-After"] = str(exc.wait)
        return response


def _never_atomic(view: Any) -> Any:
    # ATOMIC_REQUESTS would undo the RejectedCallback of a 400, and acknowledge an event before it is committed.
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


callback = _never_atomic(CallbackView.as_view())
# The same at its other URLs, which API descriptions do not list.
unlisted_callback = _never_atomic(CallbackView.as_view(schema=None))
