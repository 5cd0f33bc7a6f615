import logging
from collections.abc import Callable
from typing import Any

from django.db import Error, connections, transaction
from django.http import HttpResponse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables
from rest_framework import status
from rest_framework.exceptions import APIException, NotFound
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler

from django_plugchat import accounts, bodies, recording, spool, statements
from django_plugchat.redaction import hide_secret

logger = logging.getLogger(__name__)


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
        caller = accounts.caller(digest, _asked) if digest else None
        if caller is None:
            raise NotFound
        self.receipt = recording.Receipt.of(caller)

    def post(self, request: Request, **kwargs: Any) -> HttpResponse:
        body = bodies.read(request._request)
        try:
            try:
                body = bodies.decompressed(body, bodies.coding_of(request._request))
            except bodies.NotAsEncoded as refusal:
                body = refusal.content
                recording.refuse(body, self.receipt, refusal)
                raise
            return _answer(recording.take(body, self.receipt))
        except Error as error:
            if not self.keep(body):
                raise
            # Its text may quote the row.
            logger.warning(
                "A callback for account %r waits in the spool: %s", self.receipt.account, type(error).__name__
            )
            return _answer("kept")

    def keep(self, body: bytes) -> bool:
        """In the spool, while the database is away."""
        receipt = self.receipt
        return spool.keep(body, account=receipt.account, secret_id=receipt.secret_id, received_at=receipt.received_at)

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


def _asked(alias: str, read: Callable[[], Any]) -> Any:
    with spool.asking():
        return statements.trying_again(alias, read)


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
