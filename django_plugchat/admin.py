"""The admin screens: what the provider said, found and read by people who may see it, changed by none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import BooleanField, Q, QuerySet, Value
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.formats import date_format
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext, gettext_lazy, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.clickjacking import xframe_options_sameorigin
from rest_framework.exceptions import ParseError

from django_plugchat import charts, dispatch
from django_plugchat.conf import app_settings
from django_plugchat.exports import csv_response
from django_plugchat.models import DeliveryEvent, RejectedCallback
from django_plugchat.parsers import parse
from django_plugchat.phones import format_phone, mask_json, mask_number_in, mask_phone, mask_phones_in, searched

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin

MAX_COUNTED = 2_000
MAX_STORY = 50
_IDS = frozenset({"zaapId", "customId", "messageId", "instanceId", "momment"})

#: The errors that the provider is known to give, by ``error`` or ``errorCode``: what it means, what can be done.
KNOWN_ERRORS: dict[str, tuple[Any, Any]] = {
    "Phone number does not exist": (
        _("This number has no WhatsApp"),
        _(
            "Check country code, area code and the ninth digit, and ask the customer for the right number. "
            "Sending again to the same number fails again."
        ),
    ),
    "Timeout on send message": (
        _("WhatsApp did not answer in time"),
        _(
            "The message may have gone out all the same: look below for a later event of the same message before "
            "sending it again. If it happens often, check in PlugChat that the instance is connected."
        ),
    ),
    "SHADOW_BAN": (
        _("WhatsApp restricts the sender"),
        _(
            "WhatsApp silently refuses messages of this sender, usually after many to people who do not know it. "
            "Pause bulk sending, answer only who writes first, and start again slowly some days later."
        ),
    ),
}

#: What ``RejectedCallback.errors`` says of a field.
ERROR_SENTENCES = {
    "required": _("%(field)s is missing."),
    "null": _("%(field)s is missing."),
    "blank": _("%(field)s is blank."),
    "invalid": _("%(field)s is neither a string nor an integer."),
    "invalid_choice": _("%(field)s is not the one expected."),
    "characters": _("%(field)s contains a character that can't be part of it."),
    "max_length": _("%(field)s is too long."),
}


class AtLeast(int):
    """A count that was not taken to its end."""

    def __str__(self) -> str:
        return f"≥{int(self)}"


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than ``MAX_COUNTED``: a COUNT of millions of rows takes longer than the page."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        counted: int = rows.order_by()[: MAX_COUNTED + 1].count()
        return AtLeast(MAX_COUNTED) if counted > MAX_COUNTED else counted


class NewestFirst(ChangeList):
    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        # Whatever ``?o=`` says: another order than the index's would sort millions of rows for a page.
        return list(self.model_admin.ordering or ())


class AccountFilter(admin.SimpleListFilter):
    title = _("account")
    parameter_name = "account"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(alias, account.label) for alias, account in app_settings.accounts.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(account=self.value()) if self.value() else queryset


class ErrorFilter(admin.SimpleListFilter):
    title = _("error")
    parameter_name = "error"
    _OTHER = "other"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [*((error, label) for error, (label, _advice) in KNOWN_ERRORS.items()), (self._OTHER, _("Another"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        failed = queryset.filter(outcome=DeliveryEvent.Outcome.FAILED)
        if value == self._OTHER:
            return failed.exclude(error__in=KNOWN_ERRORS).exclude(error_code__in=KNOWN_ERRORS)
        return failed.filter(Q(error=value) | Q(error_code=value))


class ReceivedFilter(admin.ListFilter):
    """Today, the last days, or a range of days; days begin at midnight of the current time zone."""

    template = "admin/django_plugchat/received_filter.html"
    parameter_name = "received"
    parameters = ("received", "received_from", "received_to")
    _DAYS = {"today": 1, "7": 7, "30": 30}

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        self.title = gettext("time (%(time_zone)s)") % {"time_zone": timezone.get_current_timezone_name()}
        super().__init__(request, params, model, model_admin)
        given = {name: params.pop(name)[-1] for name in self.parameters if name in params}
        self.used_parameters = {name: value for name, value in given.items() if value}
        self.others = [(name, value) for name, values in request.GET.lists() for value in values]
        self.others = [(name, value) for name, value in self.others if name not in {*self.parameters, "p", "e"}]
        self.days = str(self.used_parameters.get("received", ""))
        if self.days and self.days not in self._DAYS:
            raise IncorrectLookupParameters
        self.since = self._day("received_from")
        self.until = self._day("received_to")
        if self.days:
            self.until = charts.today()
            self.since = self.until - timedelta(days=self._DAYS[self.days] - 1)

    def _day(self, name: str) -> date | None:
        given = self.used_parameters.get(name)
        if given is None:
            return None
        try:
            day = date.fromisoformat(str(given))
        except ValueError:
            raise IncorrectLookupParameters from None
        if not 2000 <= day.year < 2200:
            raise IncorrectLookupParameters
        return day

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(self.parameters)

    def choices(self, changelist: Any) -> Iterator[Any]:
        labels = {"": _("Any time"), "today": _("Today"), "7": _("Last 7 days"), "30": _("Last 30 days")}
        for value, label in labels.items():
            yield {
                "selected": value == self.days and (bool(value) or not self.used_parameters),
                "query_string": changelist.get_query_string(
                    {"received": value or None, "received_from": None, "received_to": None}
                ),
                "display": label,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.since:
            queryset = queryset.filter(received_at__gte=charts.start_of(self.since))
        if self.until:
            queryset = queryset.filter(received_at__lt=charts.start_of(self.until + timedelta(days=1)))
        return queryset


def word(kind: str, text: Any) -> SafeString:
    return format_html('<span class="plugchat-word plugchat-{}">{}</span>', kind, text)


def pre(text: str) -> SafeString:
    return format_html('<pre class="plugchat-pre" tabindex="0">{}</pre>', text)


def shortened(text: str) -> str:
    return format_html('<span title="{}">{}</span>', text, Truncator(text).chars(13)) if text else ""


def field_names(fieldsets: Any) -> tuple[str, ...]:
    return tuple(name for _title, options in fieldsets for name in options["fields"])


class ReadOnlyAdmin(_ModelAdmin):
    """Rows that only the provider writes. Deleting needs Django's permission for it."""

    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    ordering = ("-received_at", "-id")
    sortable_by = ()
    #: Query parameters that filters read; Django would take any lookup, ``phone__regex`` among them.
    allowed_lookups: ClassVar[frozenset[str]]

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

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # On the row, since what a column shows depends on who reads it.
        whole_phones = Value(sees_phones(request), output_field=BooleanField())
        rows: QuerySet[Any] = super().get_queryset(request).annotate(whole_phones=whole_phones)
        return rows

    @admin.display(description=_("received at"))
    def received(self, row: Any) -> str:
        moment = row.received_at
        return date_format(timezone.localtime(moment) if settings.USE_TZ else moment, "SHORT_DATETIME_FORMAT")

    @admin.display(description=_("account"))
    def account_label(self, row: Any) -> str:
        return app_settings.label(row.account)


def sees_phones(request: HttpRequest) -> bool:
    return request.user.has_perm("django_plugchat.view_phone")


@admin.register(DeliveryEvent)
class DeliveryEventAdmin(ReadOnlyAdmin):
    list_display = (
        "received",
        "number",
        "outcome_word",
        "error_text",
        "custom_id_short",
        "zaap_id_short",
        "account_label",
        "times_received",
        "dispatch_word",
    )
    list_filter = (ReceivedFilter, AccountFilter, "outcome", ErrorFilter, "dispatch_status")
    allowed_lookups = frozenset(
        {*ReceivedFilter.parameters, "account", "outcome", "outcome__exact", "error"}
        | {"dispatch_status", "dispatch_status__exact"}
    )
    search_fields = ("zaap_id__exact", "custom_id__exact", "message_id__exact", "phone__exact")
    search_help_text = _("A whole zaapId, customId, messageId or phone number, however it is written.")
    actions = ("redispatch", "export_csv")
    fieldsets = (
        (_("Message"), {"fields": ("outcome_word", "explanation", "error_text", "error_code_text", "number")}),
        (
            _("Identification"),
            {"fields": ("account_label", "zaap_id_text", "custom_id_text", "message_id_text", "instance_id_text")},
        ),
        (_("Time"), {"fields": ("occurred_at", "received_at", "last_received_at", "times_received")}),
        (
            _("Dispatch to your code"),
            {
                "fields": (
                    *("dispatch_word", "dispatch_attempts", "dispatched_at"),
                    *("dispatch_due_at", "dispatch_error_text"),
                )
            },
        ),
        (_("As received"), {"fields": ("type", "secret_id", "payload_text")}),
    )
    readonly_fields = field_names(fieldsets)

    # What a page shows

    @admin.display(description=_("phone"))
    def number(self, event: Any) -> str:
        return format_phone(event.phone) if event.whole_phones else mask_phone(event.phone)

    @admin.display(description=_("outcome"))
    def outcome_word(self, event: DeliveryEvent) -> SafeString:
        return word(event.outcome, event.get_outcome_display())

    @admin.display(description=_("dispatch"))
    def dispatch_word(self, event: DeliveryEvent) -> SafeString:
        return word(f"dispatch-{event.dispatch_status}", event.get_dispatch_status_display())

    @admin.display(description=_("what it means"))
    def explanation(self, event: DeliveryEvent) -> Any:
        for given in (event.error_code, event.error):
            if given in KNOWN_ERRORS:
                return format_html("<strong>{}.</strong><br>{}", *KNOWN_ERRORS[given])
        if event.outcome == DeliveryEvent.Outcome.FAILED:
            return _("The provider gave an error that is not known here. Its support can say more.")
        return _("PlugChat handed the message to WhatsApp. This does not yet say that the contact received it.")

    def _id(self, event: Any, text: str) -> str:
        return text if event.whole_phones else mask_number_in(text, event.phone)

    # In the list, as much as tells ids apart: whole ones would push the columns behind them off the screen.

    @admin.display(description="zaapId")
    def zaap_id_short(self, event: DeliveryEvent) -> str:
        return shortened(self.zaap_id_text(event))

    @admin.display(description="customId")
    def custom_id_short(self, event: DeliveryEvent) -> str:
        return shortened(self.custom_id_text(event))

    @admin.display(description="zaapId")
    def zaap_id_text(self, event: DeliveryEvent) -> str:
        return self._id(event, event.zaap_id)

    @admin.display(description="customId")
    def custom_id_text(self, event: DeliveryEvent) -> str:
        return self._id(event, event.custom_id)

    @admin.display(description="messageId")
    def message_id_text(self, event: DeliveryEvent) -> str:
        return self._id(event, event.message_id)

    @admin.display(description="instanceId")
    def instance_id_text(self, event: DeliveryEvent) -> str:
        return self._id(event, event.instance_id)

    @admin.display(description=_("error"))
    def error_text(self, event: Any) -> str:
        return Truncator(event.error if event.whole_phones else mask_phones_in(event.error, event.phone)).chars(300)

    @admin.display(description=_("error code"))
    def error_code_text(self, event: Any) -> str:
        return event.error_code if event.whole_phones else mask_phones_in(event.error_code, event.phone)

    @admin.display(description=_("dispatch error"))
    def dispatch_error_text(self, event: DeliveryEvent) -> Any:
        return pre(event.dispatch_error) if event.dispatch_error else ""

    @admin.display(description=_("payload"))
    def payload_text(self, event: Any) -> SafeString:
        payload = event.payload if event.whole_phones else mask_json(event.payload, event.phone, ids=_IDS)
        return pre(json.dumps(payload, ensure_ascii=False, indent=2))

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeliveryEvent]:
        return super().get_queryset(request).defer("payload")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[DeliveryEvent], search_term: str
    ) -> tuple[QuerySet[DeliveryEvent], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(
            Q(zaap_id__in={term, term.upper()})
            | Q(custom_id=term)
            | Q(message_id__in={term, term.upper()})
            | Q(phone__in=searched(term, whole_only=not sees_phones(request)))
        ), False

    def get_urls(self) -> list[URLPattern]:
        def view(name: str, function: Any) -> Any:
            return path(f"{name}/", self.admin_site.admin_view(function), name=f"django_plugchat_deliveryevent_{name}")

        return [view("chart", self.chart_view), view("export", self.export_view), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        changelist = (getattr(response, "context_data", None) or {}).get("cl")
        if changelist is not None:
            response.context_data["may_export"] = self.has_export_permission(request)  # type: ignore[attr-defined]
            if not changelist.result_count:
                accounts = [
                    {"label": account.label, "last": self._last_received(alias)}
                    for alias, account in app_settings.accounts.items()
                ]
                response.context_data["accounts"] = accounts  # type: ignore[attr-defined]
                response.context_data["is_empty"] = not DeliveryEvent.objects.exists()  # type: ignore[attr-defined]
        return response

    def _last_received(self, alias: str) -> Any:
        newest = DeliveryEvent.objects.for_account(alias).order_by("-received_at")
        return newest.values_list("received_at", flat=True).first()

    def _filtered(self, request: HttpRequest) -> ChangeList:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return self.get_changelist_instance(request)

    @method_decorator(xframe_options_sameorigin)
    def chart_view(self, request: HttpRequest) -> HttpResponse:
        """A page of its own, in a frame of the list: the list never waits for it."""
        try:
            changelist = self._filtered(request)
        except IncorrectLookupParameters:
            return HttpResponseBadRequest()
        received = next(spec for spec in changelist.filter_specs if isinstance(spec, ReceivedFilter))
        chart = charts.chart(changelist.queryset, since=received.since, until=received.until)
        for error in chart.errors:
            text = " · ".join(filter(None, [error["error"], error["error_code"]]))
            error["text"] = Truncator(text if sees_phones(request) else mask_phones_in(text)).chars(100)
        context = {"chart": chart, "time_zone": timezone.get_current_timezone_name(), "media": self.media}
        return TemplateResponse(request, "admin/django_plugchat/deliveryevent/chart.html", context)

    # Actions

    def _may(self, request: HttpRequest, permission: str) -> bool:
        return request.user.has_perm(f"django_plugchat.{permission}")

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "export_deliveryevent")

    def has_redispatch_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "redispatch_deliveryevent")

    @admin.action(description=_("Export as CSV"), permissions=["export"])
    def export_csv(self, request: HttpRequest, queryset: Any) -> HttpResponseBase:
        return csv_response(request, queryset, whole_phones=sees_phones(request))

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """All rows of the list as it is filtered."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        try:
            return self.export_csv(request, self._filtered(request).queryset)
        except IncorrectLookupParameters:
            return HttpResponseBadRequest()

    @admin.action(description=_("Dispatch again"), permissions=["redispatch"])
    def redispatch(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        if dispatch.opening_state()["dispatch_status"] == DeliveryEvent.DispatchStatus.NONE:
            self.message_user(
                request,
                gettext("No receiver of delivery_recorded is connected, so nothing was dispatched."),
                messages.ERROR,
            )
            return None
        if "confirmed" not in request.POST:
            context = {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": gettext("Dispatch again"),
                "count": self.get_paginator(request, queryset, self.list_per_page).count,
                "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
                "select_across": request.POST.get("select_across", "0"),
                "action_checkbox_name": ACTION_CHECKBOX_NAME,
                "media": self.media,
            }
            return TemplateResponse(request, "admin/django_plugchat/deliveryevent/redispatch.html", context)
        count = dispatch.redispatch(queryset)
        self.message_user(
            request,
            ngettext("%(count)d event is dispatched again.", "%(count)d events are dispatched again.", count)
            % {"count": count},
            messages.SUCCESS,
        )
        return None

    # One event

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        response = super().change_view(request, object_id, form_url, extra_context)
        context = getattr(response, "context_data", None) or {}
        if event := context.get("original"):
            story = self._story(request, event)
            context["story_is_cut"] = len(story) > MAX_STORY
            context["story"] = [
                {
                    "event": other,
                    "number": self.number(other),
                    "outcome": self.outcome_word(other),
                    "error": self.error_text(other),
                    "ids": [
                        (name, self._id(other, value))
                        for name, value in (
                            ("zaapId", other.zaap_id),
                            ("customId", other.custom_id),
                            ("messageId", other.message_id),
                        )
                        if value
                    ],
                }
                for other in reversed(story[:MAX_STORY])
            ]
            context["may_redispatch"] = self.has_redispatch_permission(request)
            context["action_checkbox_name"] = ACTION_CHECKBOX_NAME
        return response

    def _story(self, request: HttpRequest, event: DeliveryEvent) -> list[DeliveryEvent]:
        """What else was said about the message, newest first; one row more than is shown, where there are more."""
        same = Q(pk=event.pk)
        for name in ("zaap_id", "message_id", "custom_id"):
            if value := getattr(event, name):
                same |= Q(**{name: value})
        rows = self.get_queryset(request).filter(same, account=event.account)
        return list(rows.order_by("-received_at", "-pk")[: MAX_STORY + 1])


@admin.register(RejectedCallback)
class RejectedCallbackAdmin(ReadOnlyAdmin):
    list_display = ("received", "reason_word", "sentences", "account_label", "times_received", "last_received_at")
    list_filter = (ReceivedFilter, AccountFilter, "reason")
    allowed_lookups = frozenset({*ReceivedFilter.parameters, "account", "reason", "reason__exact"})
    actions = ("replay",)
    fieldsets = (
        (_("Why it was refused"), {"fields": ("reason_word", "sentences")}),
        (_("Time"), {"fields": ("received_at", "last_received_at", "times_received")}),
        (_("As received"), {"fields": ("account_label", "secret_id", "body_shown")}),
    )
    readonly_fields = field_names(fieldsets)

    @admin.display(description=_("reason"))
    def reason_word(self, rejected: RejectedCallback) -> SafeString:
        return word("rejected", rejected.get_reason_display())

    @admin.display(description=_("what is wrong"))
    def sentences(self, rejected: RejectedCallback) -> SafeString:
        return format_html_join(
            SafeString("<br>"),
            "{}",
            (
                (ERROR_SENTENCES.get(code, gettext_lazy("%(field)s is unusable.")) % {"field": field},)
                for field, codes in rejected.errors.items()
                for code in codes
            ),
        )

    @admin.display(description=_("body"))
    def body_shown(self, rejected: Any) -> SafeString:
        return pre(rejected.body_text if rejected.whole_phones else masked_body(rejected))

    def get_queryset(self, request: HttpRequest) -> QuerySet[RejectedCallback]:
        return super().get_queryset(request).defer("body")

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_plugchat.replay_rejectedcallback")

    @admin.action(description=_("Replay"), permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[RejectedCallback]) -> None:
        recorded = refused = 0
        for pk in list(queryset.order_by("pk").values_list("pk", flat=True)):
            rejected = RejectedCallback.objects.filter(pk=pk).first()
            if rejected and rejected.replay():
                recorded += 1
            else:
                refused += 1
        if recorded:
            self.message_user(
                request,
                ngettext("%(count)d callback is now an event.", "%(count)d callbacks are now events.", recorded)
                % {"count": recorded},
                messages.SUCCESS,
            )
        if refused:
            self.message_user(
                request,
                ngettext("%(count)d callback is still refused.", "%(count)d callbacks are still refused.", refused)
                % {"count": refused},
                messages.WARNING,
            )

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {"may_replay": self.has_replay_permission(request), "action_checkbox_name": ACTION_CHECKBOX_NAME}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})


def masked_body(rejected: RejectedCallback) -> str:
    try:
        body = parse(bytes(rejected.body))
        phone = body.get("phone") if isinstance(body, dict) else None
        masked = mask_json(body, str(phone or ""), ids=_IDS)
        return json.dumps(masked, ensure_ascii=False, indent=2)
    except (ParseError, RecursionError):
        return mask_phones_in(rejected.body_text)
