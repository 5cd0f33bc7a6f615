import logging
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
from rest_framework.views import APIView

from django_plugchat import accounts, bodies, recording, spool
from django_plugchat.redaction import hide_secret
from django_plugchat.spool import Receipt

logger = logging.getLogger(__name__)


class Unavailable(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = _("The callback could not be stored. Try again later.")


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

    receipt: Receipt

    def initial(self, request: Request, *args: Any, digest: str = "", **kwargs: Any) -> None:
        # Instead of DRF's steps: each of them asks a setting of the project, and a wrong secret comes before a wrong
        # method. The URL's converter has made a digest of the secret: no frame and no log needs to hold it from here.
        hide_secret(request._request)
        account = accounts.caller(digest, spool.asked) if digest else None
        if account is None:
            raise NotFound
        self.receipt = Receipt(account, digest[:8])

    def post(self, request: Request, **kwargs: Any) -> HttpResponse:
        body, is_as_encoded = bodies.read(request._request)
        receipt = self.receipt
        try:
            said = recording.take(body, receipt, is_as_encoded=is_as_encoded)
        except Error as error:
            if not spool.keep(body, receipt):
                raise
            # Its text may quote the row.
            logger.warning("A callback for account %r waits in the spool: %s", receipt.account, type(error).__name__)
            said = "kept"
        return HttpResponse(b'{"status":"%s"}' % said.encode(), content_type="application/json")

    def handle_exception(self, exc: Exception) -> Response:
        """Answer as DRF does, but leave the transaction around the view, which is somebody else's, as it is."""
        headers = {}
        if isinstance(exc, Error):
            # Its text may quote the row. Nobody is known to call where the account could not be looked up.
            account = self.receipt.account if hasattr(self, "receipt") else None
            logger.error("A callback for account %r was not stored: %s", account, type(exc).__name__)
            exc, headers = Unavailable(), {"Retry-After": "30"}
        bodies.drain(self.request._request)
        if not isinstance(exc, APIException):
            raise exc
        data = exc.detail if isinstance(exc.detail, dict) else {"detail": exc.detail}
        return Response(data, exc.status_code, headers=headers, exception=True)


# Outermost, so that a report of whatever fails below, in a project's own code too, shows no variable of any frame.
callback = sensitive_variables()(CallbackView.as_view())
for _alias in connections:
    # ATOMIC_REQUESTS would undo the RejectedCallback of a 400, and acknowledge an event before it is committed.
    transaction.non_atomic_requests(using=_alias)(callback)
