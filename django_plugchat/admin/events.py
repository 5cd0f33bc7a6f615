"""The list of messages: how far each has come, found by what people have in their hands."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Max, Q, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseBase
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.translation import gettext, gettext_lazy as _, ngettext_lazy

from django_plugchat import dispatch
from django_plugchat.admin import chart, export
from django_plugchat.admin.actions import BoundedActions, Done
from django_plugchat.admin.base import NewestFirst, cell, is_page, shown_id, shown_phone
from django_plugchat.admin.filters import MAX_ACCOUNTS_LISTED, AccountFilter, ReceivedFilter, SituationFilter
from django_plugchat.admin.message import MessagePage
from django_plugchat.admin.search import found_by
from django_plugchat.conf import app_settings
from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.callbacks import DELIVERY_CALLBACK, MESSAGE_STATUS_CALLBACK
from django_plugchat.story import is_late, outcome_pill, pill, provider_text
from django_plugchat.upkeep import sweeps

#: Messages that a search finds by their statuses alone.
MAX_FOUND_BY_STATUSES = 1_000

#: Not by its type, for which SQLite, which knows nothing of its rows, would read all of that type.
_IS_DELIVERY = ~Q(type=MESSAGE_STATUS_CALLBACK)
_Status = DeliveryEvent.DispatchStatus


class MessageList(NewestFirst):
    def shown(self, rows: Any) -> Any:
        return rows.with_progress()

    def newest_in_replica(self) -> Any:
        """Where a router has the admin read a copy of the database: when the newest event came that is in it."""
        rows: Any = self.root_queryset.order_by("-received_at").values_list("received_at", flat=True)
        return rows.first() if rows.db != rows.for_writing().db else None

    def nothing_found(self) -> dict[str, Any]:
        """Why that may be, and when PlugChat last said anything new: in one statement."""
        (account,) = (spec for spec in self.filter_specs if isinstance(spec, AccountFilter))
        labels = {alias: account.labels.get(alias, alias)} if (alias := account.value()) else account.labels
        newest = self.root_queryset.values("received_at")
        of_each = [(label, newest.filter(account=alias)) for alias, label in labels.items()]
        if not 0 < len(of_each) <= MAX_ACCOUNTS_LISTED:
            of_each = [(gettext("All accounts"), newest)]
        # A row of the table, whichever, to hang the subqueries on. Without one nothing has ever come.
        row = self.root_queryset.order_by("pk").values_list(*(Subquery(rows[:1]) for _label, rows in of_each)).first()
        return {
            "heard": row and [(label, moment) for (label, _rows), moment in zip(of_each, row, strict=True)],
            "is_configured": bool(account.labels),
            "is_name": not any(character.isdigit() for character in self.query),
            "retention_days": app_settings.retention_days,
        }


@admin.register(DeliveryEvent)
class DeliveryEventAdmin(MessagePage, BoundedActions):
    deferred = ("payload",)
    list_display = ("received", "number", "came_to", "ids")
    list_filter = (ReceivedFilter, AccountFilter, "dispatch_status", SituationFilter)
    search_fields = ("zaap_id__exact", "custom_id__exact", "message_id__exact", "phone_digits__exact")
    search_help_text = _("A phone number, however it is written, or a whole zaapId, customId or messageId; or several.")
    actions = (export.export_csv, "redispatch", "delete_selected")

    def get_urls(self) -> list[URLPattern]:
        view: Any = self.admin_site.admin_view(self.beside_the_list)
        pages = [
            path(f"{name}/", view, {"show": show}, name=f"django_plugchat_deliveryevent_{name}")
            for name, show in (("chart", chart.show), ("export", export.export))
        ]
        return [*pages, *super().get_urls()]

    def beside_the_list(self, request: HttpRequest, show: Callable[..., HttpResponseBase]) -> HttpResponseBase:
        """The same rows as in the list, with the same filters and search, shown in another way."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            return show(self, request, self.get_changelist_instance(request))
        except IncorrectLookupParameters:
            return HttpResponseBadRequest()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[MessageList]:
        return MessageList

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        wanted = found_by(request, search_term) if search_term.strip() else Q()
        if "dispatch_status__exact" in request.GET:
            # Your code is told of statuses as well, and each may wait.
            return queryset.filter(wanted), False
        if not wanted:
            # No status is a failure: without a condition on the type, the chart counts failures by their index alone.
            return queryset if is_page(request, "chart") else queryset.deliveries(), False
        return queryset.filter(wanted & _IS_DELIVERY | Q(pk__in=_messages_of_statuses(queryset, wanted))), False

    @admin.display(description=_("phone"))
    def number(self, event: DeliveryEvent) -> str:
        participant = event.participant and shown_phone(event, event.participant)
        return cell(shown_phone(event, event.phone), participant, self.account_label(event))

    @admin.display(description=_("situation"))
    def came_to(self, event: Any) -> str:
        lines: list[Any] = [] if event.type == DELIVERY_CALLBACK else [_("Status")]
        if event.failure:
            lines += [event.get_failure_display(), provider_text(event)]
        # Only exceptions: nearly all have been taken.
        if event.dispatch_status in {_Status.EXHAUSTED, _Status.RETRYING} or is_late(event):
            text = gettext("Dispatch: %(status)s") % {"status": event.get_dispatch_status_display()}
            lines.append(pill(f"dispatch-{event.dispatch_status}", text))
        return cell(outcome_pill(event.progress), *lines)

    @admin.display(description=_("identification"))
    def ids(self, event: DeliveryEvent) -> str:
        # Cut by the style sheet, as much as tells them apart: whole ones would push what is beside them off the screen.
        shown = '<span class="plugchat-id" title="{1}">{0} {1}</span>'
        name, value = ("zaapId", event.zaap_id) if event.zaap_id else ("messageId", event.message_id)
        known_by = format_html(shown, name, shown_id(event, value))
        return cell(format_html(shown, "", shown_id(event, event.custom_id)), known_by)

    def has_export_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_plugchat.export_deliveryevent")

    def has_redispatch_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_plugchat.redispatch_deliveryevent")

    @admin.action(permissions=["redispatch"], description=_("Dispatch again"))
    def redispatch(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        return self.ask(request, queryset, self._redispatch)

    def _redispatch(self, request: HttpRequest, keys: list[Any]) -> Done:
        if dispatch.uses_default_dispatcher() and not dispatch.has_receivers():
            text = _("No receiver of delivery_recorded is connected, so nothing was dispatched.")
            return [(messages.ERROR, text, len(keys))]
        due = sweeps.start_over(DeliveryEvent.objects.filter(pk__in=keys))
        taken = ngettext_lazy(
            "%(count)d event is due again: the next plugchat_redispatch hands it to your code.",
            "%(count)d events are due again: the next plugchat_redispatch hands them to your code.",
            "count",
        )
        running = ngettext_lazy(
            "%(count)d event is being tried at this moment and was left alone.",
            "%(count)d events are being tried at this moment and were left alone.",
            "count",
        )
        return [(messages.SUCCESS, taken, due), (messages.WARNING, running, len(keys) - due)]

    def _delete_selected(self, request: HttpRequest, keys: list[Any]) -> Done:
        """With all that was said about their messages: a status left behind would look like a message of its own."""
        rows = DeliveryEvent.objects.for_writing()
        ids: dict[str, set[str]] = defaultdict(set)
        for account, *of_message in rows.filter(pk__in=keys).values_list("account", "zaap_id", "message_id"):
            ids[account].update(of_message)
        told = [rows.for_account(account).for_message(*of_account) for account, of_account in ids.items()]
        whole = {*keys, *(pk for said in told for pk in said.values_list("pk", flat=True))}
        return super()._delete_selected(request, sorted(whole))


def _messages_of_statuses(rows: Any, wanted: Q) -> list[Any]:
    """Keys of the messages whose statuses are meant: of delivery callbacks, or the last status where that was lost."""
    statuses = rows.filter(wanted).exclude(_IS_DELIVERY).order_by().values_list("account", "message_id")
    last = {tuple(message): pk for *message, pk in statuses.annotate(Max("pk"))[:MAX_FOUND_BY_STATUSES]}
    told = DeliveryEvent.objects.filter(_IS_DELIVERY, message_id__in={message_id for _account, message_id in last})
    delivered = {row[1:]: row[0] for row in told.values_list("pk", "account", "message_id")}
    return [delivered.get(message, pk) for message, pk in last.items()]
