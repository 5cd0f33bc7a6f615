"""What logs requests in many projects: it reads their bodies, or writes structured records."""

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


def log_by_structlog(get_response: GetResponse) -> GetResponse:
    """As django-structlog does: what was asked for before the view, and what was answered."""
    import structlog

    logger = structlog.get_logger("requests")

    def middleware(request: HttpRequest) -> HttpResponse:
        asked = f"{request.method} {request.get_full_path()}"
        logger.info("request_started", request=asked)
        response = get_response(request)
        logger.info("request_finished", request=asked, code=response.status_code)
        return response

    return middleware
