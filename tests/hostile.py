"""Parts of a project that means no harm, and does it all the same."""

from contextlib import suppress
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import models
from rest_framework.authentication import BaseAuthentication
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer
from rest_framework.throttling import BaseThrottle
from rest_framework.versioning import BaseVersioning


class Reached(Exception):  # noqa: N818
    """A project's default was asked, where none should be."""


class _Refusing:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise Reached(type(self).__name__)


class Authentication(_Refusing, BaseAuthentication): ...


class ContentNegotiation(_Refusing, BaseContentNegotiation): ...


class Parser(_Refusing, BaseParser): ...


class Permission(_Refusing, BasePermission): ...


class Renderer(_Refusing, BaseRenderer): ...


class Throttle(_Refusing, BaseThrottle): ...


class Versioning(_Refusing, BaseVersioning): ...


class User(_Refusing): ...


def handle_exception(exc: Exception, context: dict[str, Any]) -> None:
    raise Reached("EXCEPTION_HANDLER")


#: What the middleware below has read of bodies.
bodies_read: list[bytes] = []


def read_body_before(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        bodies_read.append(request.body)
        return get_response(request)

    return middleware


def read_body_after(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        response = get_response(request)
        bodies_read.append(request.body)
        return response

    return middleware


def read_stream_after(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        response = get_response(request)
        bodies_read.append(request.read())
        return response

    return middleware


def read_stream_before(get_response: Any) -> Any:
    """Leaves nothing to the view, nor to ``request.body``."""

    def middleware(request: Any) -> Any:
        bodies_read.append(request.read())
        return get_response(request)

    return middleware


class Router:
    """Nothing may be read from the replica, which lags."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        raise Reached(model)

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "other" if model._meta.app_label == "django_plugchat" else None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return (db == "other") == (app_label == "django_plugchat")


class CachedQuerysets:
    """What packages do that cache querysets: the same query gives the same rows, whatever happened meanwhile."""

    def __init__(self, model: type[models.Model]) -> None:
        self.model = model
        self.rows: dict[str, list[Any]] = {}

    def __enter__(self) -> None:
        self.fetch_all = models.QuerySet._fetch_all

        def fetch_all(queryset: Any) -> None:
            if queryset._result_cache is None and queryset.model is self.model:
                # An empty one is not asked for at all.
                with suppress(EmptyResultSet):
                    key = str(queryset.query.get_compiler(using=queryset.db).as_sql())
                    if key not in self.rows:
                        self.rows[key] = list(queryset._iterable_class(queryset))
                    queryset._result_cache = self.rows[key]
            self.fetch_all(queryset)

        models.QuerySet._fetch_all = fetch_all  # type: ignore[method-assign]

    def __exit__(self, *exc_info: object) -> None:
        models.QuerySet._fetch_all = self.fetch_all  # type: ignore[method-assign]
