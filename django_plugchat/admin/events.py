"""The list of messages: how far each has come, found by what people have in their hands."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_plugchat.admin import progress
from django_plugchat.admin.actions import DispatchAgain, why_waiting
from django_plugchat.admin.base import NewestFirst, outcome_pill, pill, shortened, shown_id, shown_phone, time_tag
from django_plugchat.admin.chart import ChartPage
from django_plugchat.admin.export import ExportCsv
from django_plugchat.admin.filters import (
    MAX_ACCOUNTS_LISTED,
    AccountFilter,
    FailureFilter,
    ReceivedFilter,
    ShowFilter,
)
from django_plugchat.admin.message import MessagePage
from django_plugchat.admin.search import found_by
from django_plugchat.conf import app_settings
from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.callbacks import DELIVERY_CALLBACK
from django_plugchat.provider.errors import Failure
from django_plugchat.story import provider_text

_DISPATCH_SYMBOLS = {
    DeliveryEvent.DispatchStatus.NONE: "",
    DeliveryEvent.DispatchStatus.PENDING: "…",
    DeliveryEvent.DispatchStatus.RUNNING: "…",
    DeliveryEvent.DispatchStatus.RETRYING: "↻",
    DeliveryEvent.DispatchStatus.DONE: "✓",
    DeliveryEvent.DispatchStatus.EXHAUSTED: "✕",
}


class MessageList(NewestFirst):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: Any = list(self.result_list)
        come_to = progress.of_page(event for event in self.result_list if event.type == DELIVERY_CALLBACK)
        for event in self.result_list:
            event.progress = come_to.get(event.pk, event.outcome)


@admin.register(DeliveryEvent)
class DeliveryEventAdmin(MessagePage, ChartPage, ExportCsv, DispatchAgain):
    list_display = ("received", "number", "came_to", "ids", "dispatch_pill")
    list_filter = (
        ReceivedFilter,
        ShowFilter,
        "outcome",
        AccountFilter,
        "dispatch_status",
        FailureFilter,
    )
    allowed_lookups = frozenset(
        {*ReceivedFilter.parameters, "show", "outcome", "outcome__exact", "failure", "account"}
        | {"dispatch_status", "dispatch_status__exact"}
    )
    search_fields = ("zaap_id__exact", "custom_id__exact", "message_id__exact", "phone_digits__exact")
    search_help_text = _("A phone number, however it is written, or a whole zaapId, customId or messageId; or several.")
    actions = ("export_csv", *DispatchAgain.actions)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return MessageList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("payload")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if search_term.strip():
            queryset = queryset.filter(found_by(request, search_term))
        return queryset, False

    # Columns

    @admin.display(description=_("received at"))
    def received(self, event: DeliveryEvent) -> SafeString:
        times = ngettext("%(count)s time", "%(count)s times", event.times_received) % {"count": event.times_received}
        return format_html("{}{}", time_tag(event.received_at), _small([times] if event.times_received > 1 else []))

    @admin.display(description=_("phone"))
    def number(self, event: DeliveryEvent) -> SafeString:
        lines = [self.account_label(event)]
        if event.participant:
            lines.insert(0, shown_phone(event, event.participant))
        return format_html("{}{}", shown_phone(event, event.phone), _small(lines))

    @admin.display(description=_("outcome"))
    def came_to(self, event: Any) -> SafeString:
        lines: list[Any] = []
        if event.type != DELIVERY_CALLBACK:
            lines.append(_("Status"))
        if event.failure:
            text = provider_text(event)
            kind = Failure(event.failure).label
            lines.append(format_html('<span title="{}">{}</span>', text, kind))
            lines.append(text)
        return format_html("{}{}", outcome_pill(event.progress), _small(lines))

    @admin.display(description=_("identification"))
    def ids(self, event: DeliveryEvent) -> SafeString:
        # As much as tells them apart: whole ones would push what stands behind them off the screen.
        lines = [format_html('<span class="plugchat-id">{}</span>', shortened(shown_id(event, event.custom_id)))]
        for name, value in (("zaapId", event.zaap_id), ("messageId", "" if event.zaap_id else event.message_id)):
            if value:
                lines.append(_small([format_html("{} {}", name, shortened(shown_id(event, value), 9))]))
        return format_html_join("", "{}", ((line,) for line in lines))

    @admin.display(description=_("dispatch"))
    def dispatch_pill(self, event: DeliveryEvent) -> SafeString:
        status = DeliveryEvent.DispatchStatus(event.dispatch_status)
        shown = pill(f"dispatch-{status}", status.label, _DISPATCH_SYMBOLS[status])
        return format_html('<span title="{}">{}</span>', why_waiting(event), shown)

    # The page

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().changelist_view(request, {"title": gettext("Messages"), **(extra_context or {})})
        context = getattr(response, "context_data", None) or {}
        if changelist := context.get("cl"):
            context["may_export"] = self.has_export_permission(request)
            # It counts delivery callbacks, whatever the list shows.
            context["chart_query"] = changelist.get_query_string(remove=["show", "p"])
            if not changelist.result_list:
                context.update(_empty_page(request, changelist))
        return response


def _small(lines: list[Any]) -> SafeString:
    small = '<span class="plugchat-line plugchat-quiet">{}</span>'
    return format_html_join("", small, ((line,) for line in lines if line))


def _empty_page(request: HttpRequest, changelist: Any) -> dict[str, Any]:
    """Why nothing may have been found, and when PlugChat last said anything new: in one statement."""
    (account_filter,) = (spec for spec in changelist.filter_specs if isinstance(spec, AccountFilter))
    asked = [account_filter.alias] if account_filter.alias else list(app_settings.accounts)
    newest = DeliveryEvent.objects.order_by("-received_at", "-pk").values("received_at")
    if 0 < len(asked) <= MAX_ACCOUNTS_LISTED:
        newest_of = {app_settings.label(alias): newest.filter(account=alias) for alias in asked}
    else:
        newest_of = {gettext("All accounts"): newest}
    # A row of the table, whichever, to hang the subqueries on. Without one nothing has ever come.
    heard = DeliveryEvent.objects.values_list(*(Subquery(rows[:1]) for rows in newest_of.values())).first()
    return {
        "is_empty": heard is None,
        "is_configured": bool(app_settings.accounts),
        "heard": list(zip(newest_of, heard or [], strict=False)),
        "is_searched": bool(changelist.query),
        "retention_days": app_settings.retention_days,
        "may_see_rejected": request.user.has_perm("django_plugchat.view_rejectedcallback"),
    }
