"""What all screens have in common: rows that nobody changes here, newest first, found by their indexes alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import BadRequest, PermissionDenied
from django.core.paginator import Paginator
from django.db import connections, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator, capfirst
from django.utils.translation import gettext_lazy as _

from django_plugchat import accounts, times
from django_plugchat.phones.numbers import format_phone, mask_id, mask_phone

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin

MAX_COUNTED = 1_000


class AtLeast(int):
    """A count that was not taken to its end."""

    def __str__(self) -> str:
        return f"≥{int(self)}"


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than ``MAX_COUNTED``: a COUNT of millions of rows takes longer than the page.

    In the page's order, and so along the same index. Without an order PostgreSQL may read the table from its beginning,
    past millions of rows that don't match.
    """

    @cached_property
    def keys(self) -> list[Any]:
        rows: Any = self.object_list
        return list(rows.values_list("pk", flat=True)[: MAX_COUNTED + 1])

    @cached_property
    def count(self) -> int:
        return AtLeast(MAX_COUNTED) if len(self.keys) > MAX_COUNTED else len(self.keys)


@contextmanager
def uncompiled(alias: str) -> Iterator[None]:
    """Without PostgreSQL's compiler: by its guesses about millions of rows it would compile for longer than it runs."""
    if connections[alias].vendor != "postgresql":
        yield
        return
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute("SET LOCAL jit = off")
        yield


class NewestFirst(ChangeList):
    def get_filters(self, request: HttpRequest) -> Any:
        # PostgreSQL can't look for U+0000, which no row has.
        if any("\0" in value for values in self.get_filters_params().values() for value in values):
            raise IncorrectLookupParameters
        return super().get_filters(request)

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        # Whatever ``?o=`` says: another order than the index's would sort millions of rows for a page.
        return list(self.model_admin.ordering or ())

    def get_results(self, request: HttpRequest) -> None:
        if not is_list(request):
            return  # a page that shows the rows in another way
        with uncompiled(self.queryset.db):
            super().get_results(request)
            # What the filters have to look for, they look for once.
            size = self.list_max_show_all if self.show_all else self.list_per_page
            start = (self.page_num - 1) * size if self.multi_page and not self.show_all else 0
            keys = self.paginator.keys[start : min(start + size, self.result_count)]
            rows = self.shown(self.root_queryset.filter(pk__in=keys))
            self.result_list: Any = list(rows.order_by(*self.model_admin.get_ordering(request)))
        for row in self.result_list:
            row.whole_phones = sees_phones(request)
        if not self.query:
            # Django would say how many "results" there are, and offer to show all of them.
            self.full_result_count = self.result_count

    def shown(self, rows: Any) -> Any:
        return rows


def is_list(request: HttpRequest) -> bool:
    return request.resolver_match is not None and str(request.resolver_match.url_name).endswith("_changelist")


def sees_phones(request: HttpRequest) -> bool:
    """Whether whole numbers and whatever else is free-form are shown."""
    return request.user.has_perm("django_plugchat.view_phone")


def seen_accounts(request: HttpRequest) -> frozenset[str] | None:
    """The aliases of the accounts that this user sees, as ``ADMIN_ACCOUNTS`` says; None for all of them."""
    # Asked once for each request: it may ask the database.
    known: Any = request.__dict__
    if "_plugchat_accounts" not in known:
        known["_plugchat_accounts"] = accounts.seen_by(request.user)
    seen: frozenset[str] | None = known["_plugchat_accounts"]
    return seen


def pill(kind: str, text: Any, symbol: str = "") -> SafeString:
    """A state, as a word; its colour, chosen by ``kind``, and its symbol only repeat it."""
    mark = format_html('<span aria-hidden="true">{}</span> ', symbol) if symbol else ""
    return format_html('<span class="plugchat-pill plugchat-{}">{}{}</span>', kind, mark, text)


def pre(text: str) -> SafeString:
    """A text as it is, in a box that the keyboard can scroll."""
    return format_html('<pre class="plugchat-pre" tabindex="0">{}</pre>', text)


def time_tag(moment: datetime) -> SafeString:
    return format_html('<time datetime="{}">{}</time>', moment.isoformat(), times.shown(moment))


def shortened(text: str, length: int = 15) -> str:
    """An id as far as a column has room; the whole of it on hover."""
    if len(text) <= length:
        return text
    return format_html('<span title="{}">{}</span>', text, Truncator(text).chars(length))


def shown_phone(row: Any, phone: str) -> str:
    """``row.whole_phones`` says whether its reader may see them."""
    return format_phone(phone) if row.whole_phones else mask_phone(phone)


def shown_id(row: Any, text: str) -> str:
    return text if row.whole_phones else mask_id(text)


def field_names(fieldsets: Any) -> tuple[str, ...]:
    return tuple(name for _title, options in fieldsets for name in options["fields"])


class ReadOnlyAdmin(_ModelAdmin):
    """Rows that only PlugChat writes. Deleting them needs Django's permission for it."""

    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    #: Each has an index that ends with these.
    ordering = ("-received_at", "-id")
    sortable_by = ()
    #: Query parameters that filters read; Django would take any lookup, ``phone__regex`` among them.
    allowed_lookups: ClassVar[frozenset[str]] = frozenset()
    #: What holds the alias.
    account_field = "account"

    class Media:
        css = {"all": ["django_plugchat/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return NewestFirst

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        return lookup in self.allowed_lookups

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        # Django's own title asks to select a row, and there is nothing to change.
        title = capfirst(self.opts.verbose_name_plural)
        response = super().changelist_view(request, {"title": title, **(extra_context or {})})
        if form := (getattr(response, "context_data", None) or {}).get("action_form"):
            # Django says dashes, and since 6.1 "Select an option", which is not translated into Portuguese.
            field = form.fields["action"]
            field.choices = [(name, label if name else _("Choose an action")) for name, label in field.choices]
        return response

    def response_action(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        # Each database fails in its own way over what no key can be.
        if not all(pk.isdecimal() and len(pk) < 19 for pk in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            raise BadRequest("Not a selection.")
        return super().response_action(request, *args, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        seen = seen_accounts(request)
        return rows if seen is None else rows.filter(**{f"{self.account_field}__in": seen})

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row: Any = super().get_object(request, object_id, from_field)
        if row is not None:
            row.whole_phones = sees_phones(request)
        return row

    def own_page(self, request: HttpRequest, template: str, title: Any, **context: Any) -> TemplateResponse:
        """A page that Django has no view for."""
        request.current_app = self.admin_site.name
        context |= {"opts": self.opts, "media": self.media, "title": title, "subtitle": None}
        context = {**self.admin_site.each_context(request), **context}
        return TemplateResponse(request, f"admin/django_plugchat/{template}.html", context)

    def page_of_rows(self, name: str, view: Callable[[HttpRequest, ChangeList], HttpResponseBase]) -> URLPattern:
        """A page beside the list that shows the same rows, with the same filters and search, in another way."""

        def filtered(request: HttpRequest) -> HttpResponseBase:
            if not self.has_view_permission(request):
                raise PermissionDenied
            try:
                changelist = self.get_changelist_instance(request)
            except IncorrectLookupParameters:
                return HttpResponseBadRequest()
            return view(request, changelist)

        url_name = f"{self.opts.app_label}_{self.opts.model_name}_{name}"
        return path(f"{name}/", self.admin_site.admin_view(filtered), name=url_name)

    @admin.display(description=_("received at"))
    def received(self, row: Any) -> SafeString:
        return time_tag(row.received_at)

    @admin.display(description=_("account"))
    def account_label(self, row: Any) -> str:
        return accounts.label(row.account)
