"""Callbacks that were refused: read, understood, and tried again."""

import json
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import ParseError

from django_plugchat import payloads, recording, times
from django_plugchat.admin.actions import BoundedDeletion, ask, chosen_rows, is_confirmed, log_action
from django_plugchat.admin.base import field_names, pill, pre, sees_phones, time_tag
from django_plugchat.admin.filters import AccountFilter, ReceivedFilter
from django_plugchat.admin.search import terms
from django_plugchat.models import RejectedCallback
from django_plugchat.phones.numbers import searched

#: In one request: a project's own code may hear of each.
MOST_REPLAYED = 100
# Each is compared with every row, in several forms.
_MOST_TERMS = 10
_LONGEST_TERM = 255

_Reason = RejectedCallback.Reason

ADVICE = {
    _Reason.ENCODING: _(
        "Nothing can be read from it. Look at what your proxy does to compressed requests: it must leave the body and "
        "its Content-Encoding as they are."
    ),
    _Reason.NOT_JSON: _(
        "PlugChat sends JSON. If this does not look like PlugChat's, somebody else knows the URL: replace the webhook "
        "secret. If it looks cut off or changed, look at your proxy."
    ),
    _Reason.NOT_OBJECT: _(
        "PlugChat sends an object. If this does not look like PlugChat's, somebody else knows the URL: replace the "
        "webhook secret."
    ),
    _Reason.NOT_STORABLE: _(
        "No database holds these numbers or so many levels. PlugChat is not known to send that. If this looks like "
        "PlugChat's, report it to the makers of django-plugchat; else replace the webhook secret."
    ),
    _Reason.INVALID: _(
        "PlugChat may have changed what it sends. Update django-plugchat, then replay. If there is no update, report "
        "what is wrong here to its makers."
    ),
    _Reason.UNKNOWN_STATUS: _(
        "PlugChat told a status that this version of django-plugchat does not know. Update django-plugchat, then "
        "replay. If there is no update, report the status to its makers."
    ),
    _Reason.DATABASE: _(
        "The log of that time says why. Mend it (most often migrations have not been run, or the database does not "
        "use UTF-8), then replay."
    ),
}

#: What ``RejectedCallback.errors`` says of a field.
ERROR_SENTENCES = {
    "required": _("%(field)s is missing."),
    "blank": _("%(field)s is blank."),
    "invalid": _("%(field)s is neither a string nor an integer."),
    "invalid_choice": _("%(field)s is not one of those expected."),
    "characters": _("%(field)s contains a character that can't be part of it."),
    "max_length": _("%(field)s is too long."),
    "not_a_list": _("%(field)s is not a list."),
    "empty": _("%(field)s is empty."),
    "max_items": _("%(field)s holds too many."),
}
_OTHER_ERROR = _("%(field)s is unusable.")


@admin.register(RejectedCallback)
class RejectedCallbackAdmin(BoundedDeletion):
    list_display = ("received", "wrong", "account_label", "repeated")
    list_filter = (ReceivedFilter, AccountFilter, "reason")
    allowed_lookups = frozenset({*ReceivedFilter.parameters, "account", "reason", "reason__exact"})
    search_fields = ("search_terms",)
    search_help_text = _("A phone number, however it is written, or a whole zaapId, customId or messageId.")
    actions = ("replay", *BoundedDeletion.actions)
    fieldsets = (
        (_("Why it was refused"), {"fields": ("wrong", "advice")}),
        (_("Time"), {"fields": ("received", "last_received", "times_received")}),
        (_("As received"), {"fields": ("account_label", "secret_id", "body_shown")}),
    )
    readonly_fields = field_names(fieldsets)

    @admin.display(description=_("last received at"))
    def last_received(self, rejected: RejectedCallback) -> SafeString:
        return time_tag(rejected.last_received_at)

    @admin.display(description=_("what is wrong"))
    def wrong(self, rejected: RejectedCallback) -> SafeString:
        sentences = [
            str(ERROR_SENTENCES.get(code, _OTHER_ERROR)) % {"field": field}
            for field, codes in rejected.errors.items()
            for code in codes
        ]
        return pill("rejected", rejected.get_reason_display()) + format_html_join("", "<br>{}", zip(sentences))

    @admin.display(description=_("repeated"))
    def repeated(self, rejected: RejectedCallback) -> Any:
        if rejected.times_received == 1:
            return ""
        values = {"times": rejected.times_received, "when": times.shown(rejected.last_received_at)}
        text = gettext("%(times)d times, last on %(when)s") % values
        return format_html('<span class="plugchat-repeated">{}</span>', text)

    @admin.display(description=_("what to do"))
    def advice(self, rejected: RejectedCallback) -> Any:
        return ADVICE.get(rejected.reason, "")  # type: ignore[call-overload]

    @admin.display(description=_("body"))
    def body_shown(self, rejected: Any) -> Any:
        if not rejected.whole_phones:
            return _("Only those who may see whole phone numbers can read it.")
        return pre(readable(rejected))

    def get_queryset(self, request: HttpRequest) -> QuerySet[RejectedCallback]:
        # For the list; the page of one loads it.
        return super().get_queryset(request).defer("body", "search_terms")

    # Search

    def get_search_fields(self, request: HttpRequest) -> Any:
        return self.search_fields if sees_phones(request) else ()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[RejectedCallback], search_term: str
    ) -> tuple[QuerySet[RejectedCallback], bool]:
        if not search_term.strip() or not sees_phones(request):
            return queryset, False
        # Nothing to look for finds nothing.
        holding = Q(pk__in=[])
        for term in searched_terms(search_term):
            holding |= Q(search_terms__contains=f"\n{term}\n")
        return queryset.filter(holding), False

    # Replaying

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_plugchat.replay_rejectedcallback")

    @admin.action(permissions=["replay"], description=_("Replay"))
    def replay(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        keys = chosen_rows(self, request, queryset, gettext("Select fewer."), most=MOST_REPLAYED)
        if keys is None:
            return None
        title = gettext("Replay")
        if not is_confirmed(request):
            question = ngettext(
                "%(count)s callback will be tried again with the code of today. If it is accepted now, it becomes an "
                "event that your code hears of.",
                "%(count)s callbacks will be tried again with the code of today. Those that are accepted now become "
                "events that your code hears of.",
                len(keys),
            ) % {"count": len(keys)}
            return ask(self, request, name="replay", title=title, question=question)
        rows = RejectedCallback.objects.for_writing().filter(pk__in=keys).order_by("received_at", "pk")
        replayed = [recording.replay(rejected) is not None for rejected in rows]
        log_action(self, request, "replay", title, len(replayed))
        if count := replayed.count(True):
            text = ngettext("%(count)d callback is now an event.", "%(count)d callbacks are now events.", count)
            self.message_user(request, text % {"count": count}, messages.SUCCESS)
        if count := replayed.count(False):
            text = ngettext("%(count)d callback is still refused.", "%(count)d callbacks are still refused.", count)
            self.message_user(request, text % {"count": count}, messages.SUCCESS)
        return None

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        context |= {
            "title": capfirst(self.opts.verbose_name),
            "subtitle": None,
            "may_replay": self.has_replay_permission(request),
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return super().render_change_form(request, context, *args, **kwargs)


def readable(rejected: RejectedCallback) -> str:
    """The body, indented where it is JSON that this app takes; any other as it came."""
    try:
        value = payloads.parse(bytes(rejected.body))
        # What is nested deeper would become huge by indenting.
        payloads.storable(value)
    except ParseError:
        return rejected.body_text
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return rejected.body_text if payloads.has_unstorable_character(text) else text


def searched_terms(typed: str) -> list[str]:
    """What a body may be found by that somebody means who typed or pasted this."""
    wanted = [term for term in terms(typed) if len(term) <= _LONGEST_TERM][:_MOST_TERMS]
    return list(dict.fromkeys(form for term in wanted for form in (term, term.upper(), *searched(term))))
