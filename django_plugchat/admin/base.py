"""What all screens have in common: rows that nobody changes here, newest first, found by their indexes alone."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet, Value
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.text import capfirst
from django.utils.translation import gettext, gettext_lazy as _, ngettext

from django_plugchat import accounts, times
from django_plugchat.phones.numbers import format_phone, mask_id, mask_phone
from django_plugchat.statements import uncompiled

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


class NewestFirst(ChangeList):
    def get_filters(self, request: HttpRequest) -> Any:
        found = super().get_filters(request)
        # What no filter has read, Django would look for: ``phone__regex``, for one.
        if not found[2].keys() <= set(self.list_filter):
            raise DisallowedModelAdminLookup
        return found

    def get_results(self, request: HttpRequest) -> None:
        if not is_page(request, "changelist"):
            return  # it shows the rows in another way
        with uncompiled(self.queryset.db):
            super().get_results(request)
            # What the filters have to look for, they look for once.
            page = self.paginator.get_page(self.page_num)
            keys = self.paginator.keys[page.start_index() - 1 : page.end_index()]
            self.result_list: Any = list(self.shown(self.root_queryset.filter(pk__in=keys)))
        self.show_admin_actions = bool(self.result_list)
        if not self.query:
            # Django would say how many "results" there are, and offer to show all of them.
            self.full_result_count = self.result_count

    def shown(self, rows: Any) -> Any:
        """With what else is shown of each."""
        return rows


def is_page(request: HttpRequest, name: str) -> bool:
    """Whether the list (``changelist``) or a page of that name beside it is asked for."""
    return str(getattr(request.resolver_match, "url_name", "")).endswith(f"_{name}")


def sees_phones(request: HttpRequest) -> bool:
    """Whether whole numbers and whatever else is free-form are shown."""
    return request.user.has_perm("django_plugchat.view_phone")


def seen_accounts(request: Any) -> frozenset[str] | None:
    """The aliases of the accounts that this user sees, as ``ADMIN_ACCOUNTS`` says; None for all of them."""
    # Asked once for each request: it may ask the database.
    if not hasattr(request, "_plugchat_accounts"):
        request._plugchat_accounts = accounts.seen_by(request.user)
    return request._plugchat_accounts  # type: ignore[no-any-return]


def cell(first: Any, *lines: Any) -> str:
    """What is in a column, and small lines below it."""
    small = '<span class="plugchat-line plugchat-quiet">{}</span>'
    return format_html("{}{}", first, format_html_join("", small, ((line,) for line in lines if line)))


def shown_phone(row: Any, phone: str) -> str:
    """``row.whole_phones`` says whether its reader may see them."""
    return format_phone(phone) if row.whole_phones else mask_phone(phone)


def shown_id(row: Any, text: str) -> str:
    return text if row.whole_phones else mask_id(text)


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that only PlugChat writes. Deleting them needs Django's permission for it."""

    paginator = CappedPaginator
    show_full_result_count = False
    list_max_show_all = 0
    show_facets = admin.ShowFacets.NEVER
    #: Each has an index that ends with these.
    ordering = ("-received_at", "-id")
    sortable_by = ()
    #: What holds the alias.
    account_field = "account"
    #: What is long, and only shown on the page of one.
    deferred: tuple[str, ...] = ()

    class Media:
        css = {"all": ["django_plugchat/admin.css"]}
        js = ["django_plugchat/copy.js"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return NewestFirst

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        # Django's own title asks to select a row, and there is nothing to change.
        title = capfirst(self.opts.verbose_name_plural)
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def get_action_choices(self, request: HttpRequest, default_choices: Any = None, action_location: Any = None) -> Any:
        # Django says dashes, and since 6.1 "Select an option", which is not translated into Portuguese.
        return super().get_action_choices(request, [("", gettext("Choose an action"))])

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).defer(*self.deferred)
        rows = rows.annotate(whole_phones=Value(sees_phones(request)))
        seen = seen_accounts(request)
        return rows if seen is None else rows.filter(**{f"{self.account_field}__in": seen})

    def own_page(self, request: HttpRequest, template: str, title: Any, **context: Any) -> TemplateResponse:
        """A page that Django has no view for."""
        request.current_app = self.admin_site.name
        page = {"opts": self.opts, "media": self.media, "title": title}
        context = self.admin_site.each_context(request) | page | context
        return TemplateResponse(request, f"admin/django_plugchat/{template}.html", context)

    @admin.display(description=_("time"))
    def received(self, row: Any) -> str:
        text = ngettext("%(count)s time", "%(count)s times", row.times_received) % {"count": row.times_received}
        return cell(times.shown(row.received_at), text if row.times_received > 1 else "")

    @admin.display(description=_("account"))
    def account_label(self, row: Any) -> str:
        return accounts.label(row.account)
