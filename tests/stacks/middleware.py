"""What logs requests in many projects: it reads their bodies, before the view or after it."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

GetResponse = Callable[[HttpRequest], HttpResponse]
_SHOWN = "X-Length-Of-Body"


def read_before(get_response: GetResponse) -> GetResponse:
    def middleware(request: HttpRequest) -> HttpResponse:
        length = len(request.body)
        response = get_response(request)
        response[_SHOWN] = str(length)
        return response

    return middleware


def read_after(get_response: GetResponse) -> GetResponse:
    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response[_SHOWN] = str(len(request.body))
        return response

    return middleware
