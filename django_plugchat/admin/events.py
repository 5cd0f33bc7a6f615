"""The list of messages: how far each has come, found by what people have in their hands."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Max, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_plugchat import accounts
from django_plugchat.admin.actions import DispatchAgain, why_waiting
from django_plugchat.admin.base import NewestFirst, pill, shortened, shown_id, shown_phone, time_tag
from django_plugchat.admin.chart import ChartPage
from django_plugchat.admin.export import ExportCsv
from django_plugchat.admin.filters import (
    MAX_ACCOUNTS_LISTED,
    AccountFilter,
    ReceivedFilter,
    SituationFilter,
    labels_of,
)
from django_plugchat.admin.message import MessagePage
from django_plugchat.admin.search import found_by
from django_plugchat.conf import app_settings
from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.callbacks import DELIVERY_CALLBACK, MESSAGE_STATUS_CALLBACK
from django_plugchat.provider.errors import Failure
from django_plugchat.story import outcome_pill, provider_text

#: Messages that a search finds by their statuses alone.
MAX_FOUND_BY_STATUSES = 1_000

#: Not by its type, for which SQLite, which knows nothing of its rows, would read all of that type.
_IS_DELIVERY = ~Q(type=MESSAGE_STATUS_CALLBACK)
_Status = DeliveryEvent.DispatchStatus
#: What your code has not taken; only while it is late, where the value is true.
_UNTAKEN = {_Status.EXHAUSTED: False, _Status.RETRYING: False, _Status.PENDING: True, _Status.RUNNING: True}


class MessageList(NewestFirst):
    def shown(self, rows: Any) -> Any:
        return rows.with_progress()


@admin.register(DeliveryEvent)
class DeliveryEventAdmin(MessagePage, ChartPage, ExportCsv, DispatchAgain):
    list_display = ("received", "number", "came_to", "ids")
    list_filter = (ReceivedFilter, AccountFilter, "dispatch_status", SituationFilter)
    allowed_lookups = frozenset(
        {*ReceivedFilter.parameters, "account", "situation", "dispatch_status", "dispatch_status__exact"}
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
        rows: Any = queryset
        wanted = found_by(request, search_term) if search_term.strip() else None
        if "dispatch_status__exact" in request.GET:
            # Your code is told of statuses as well, and each may wait.
            return (rows if wanted is None else rows.filter(wanted)), False
        if wanted is None:
            return rows.deliveries(), False
        return rows.filter(wanted & _IS_DELIVERY | Q(pk__in=_messages_of_statuses(rows, wanted))), False

    # Columns

    @admin.display(description=_("time"))
    def received(self, event: DeliveryEvent) -> SafeString:
        times = ngettext("%(count)s time", "%(count)s times", event.times_received) % {"count": event.times_received}
        return format_html("{}{}", time_tag(event.received_at), _small([times] if event.times_received > 1 else []))

    @admin.display(description=_("phone"))
    def number(self, event: DeliveryEvent) -> SafeString:
        lines = [self.account_label(event)]
        if event.participant:
            lines.insert(0, shown_phone(event, event.participant))
        number = format_html('<span class="plugchat-number">{}</span>', shown_phone(event, event.phone))
        return format_html("{}{}", number, _small(lines))

    @admin.display(description=_("situation"))
    def came_to(self, event: Any) -> SafeString:
        lines: list[Any] = []
        if event.type != DELIVERY_CALLBACK:
            lines.append(_("Status"))
        if event.failure:
            text = provider_text(event)
            lines += [format_html('<span title="{}">{}</span>', text, Failure(event.failure).label), text]
        # Only exceptions: nearly all have been taken.
        if event.dispatch_status in _UNTAKEN:
            status = _Status(event.dispatch_status)
            if not _UNTAKEN[status] or event.dispatch_due_at <= timezone.now():
                shown = pill(f"dispatch-{status}", gettext("Dispatch: %(status)s") % {"status": status.label})
                lines.append(format_html('<span title="{}">{}</span>', why_waiting(event), shown))
        return format_html("{}{}", outcome_pill(event.progress), _small(lines))

    @admin.display(description=_("identification"))
    def ids(self, event: DeliveryEvent) -> SafeString:
        # As much as tells them apart: whole ones would push what stands behind them off the screen.
        lines = [format_html('<span class="plugchat-id">{}</span>', shortened(shown_id(event, event.custom_id)))]
        for name, value in (("zaapId", event.zaap_id), ("messageId", "" if event.zaap_id else event.message_id)):
            if value:
                lines.append(_small([format_html("{} {}", name, shortened(shown_id(event, value), 9))]))
        return format_html_join("", "{}", ((line,) for line in lines))

    # The page

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        context = getattr(response, "context_data", None) or {}
        if changelist := context.get("cl"):
            context["may_export"] = self.has_export_permission(request)
            # It shows all situations, beside each other.
            context["chart_query"] = changelist.get_query_string(remove=["situation", "dispatch_status", "p"])
            if not changelist.result_list:
                context.update(self._empty_page(request, changelist))
        return response

    def _empty_page(self, request: HttpRequest, changelist: Any) -> dict[str, Any]:
        """Why nothing may have been found, and when PlugChat last said anything new: in one statement."""
        (account_filter,) = (spec for spec in changelist.filter_specs if isinstance(spec, AccountFilter))
        rows = self.get_queryset(request).order_by("-received_at", "-pk")
        newest = rows.values("received_at")
        labels = labels_of(request)
        asked = [account_filter.alias] if account_filter.alias else list(labels)
        if 0 < len(asked) <= MAX_ACCOUNTS_LISTED:
            names = [accounts.label(alias) for alias in asked]
            heard = [Subquery(newest.filter(account=alias)[:1]) for alias in asked]
        else:
            names, heard = [gettext("All accounts")], [Subquery(newest[:1])]
        # A row of the table, whichever, to hang the subqueries on. Without one nothing has ever come.
        moments = rows.order_by().values_list(*heard).first()
        return {
            "is_empty": moments is None,
            "is_configured": bool(labels),
            "heard": list(zip(names, moments or [], strict=False)),
            "is_searched": bool(changelist.query),
            "is_name": not any(character.isdigit() for character in changelist.query),
            "retention_days": app_settings.retention_days,
            "may_see_rejected": request.user.has_perm("django_plugchat.view_rejectedcallback"),
        }


def _messages_of_statuses(rows: Any, wanted: Q) -> list[Any]:
    """Keys of the messages whose statuses are meant: of delivery callbacks, or the last status where that was lost."""
    statuses = (
        rows.filter(wanted).exclude(_IS_DELIVERY).order_by().values_list("account", "message_id").annotate(Max("pk"))
    )
    last = {(account, message_id): pk for account, message_id, pk in statuses[:MAX_FOUND_BY_STATUSES]}
    told = DeliveryEvent.objects.filter(_IS_DELIVERY, message_id__in={message_id for _account, message_id in last})
    delivered = {row[1:]: row[0] for row in told.values_list("pk", "account", "message_id")}
    return [delivered.get(message, pk) for message, pk in last.items()]


def _small(lines: list[Any]) -> SafeString:
    small = '<span class="plugchat-line plugchat-quiet">{}</span>'
    return format_html_join("", small, ((line,) for line in lines if line))
