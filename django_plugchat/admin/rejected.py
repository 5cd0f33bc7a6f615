"""Callbacks that were refused: read, understood, and tried again."""

import json
from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy
from rest_framework.exceptions import ParseError

from django_plugchat import payloads, recording
from django_plugchat.admin.actions import BoundedDeletion, Done, asked
from django_plugchat.admin.base import pre, sees_phones
from django_plugchat.admin.filters import AccountFilter, ReceivedFilter
from django_plugchat.admin.search import terms
from django_plugchat.models import RejectedCallback
from django_plugchat.phones.numbers import searched

# Each is compared with every row, in several forms.
_MOST_TERMS = 10
_LONGEST_TERM = 255


@admin.register(RejectedCallback)
class RejectedCallbackAdmin(BoundedDeletion):
    list_display = ("received", "wrong", "account_label")
    list_filter = (ReceivedFilter, AccountFilter, "reason")
    search_fields = ("search_terms",)
    search_help_text = _("A phone number, however it is written, or a whole zaapId, customId or messageId.")
    actions = ("replay", "delete_selected")
    # What to do about it stands above them, in the template.
    fieldsets = (
        (_("Why it was refused"), {"fields": ("wrong",)}),
        (_("Time"), {"fields": ("received_at", "last_received_at", "times_received")}),
        (_("As received"), {"fields": ("account_label", "secret_id", "body_shown")}),
    )

    @admin.display(description=_("what is wrong"))
    def wrong(self, rejected: RejectedCallback) -> str:
        return render_to_string("admin/django_plugchat/rejectedcallback/wrong.html", {"rejected": rejected})

    @admin.display(description=_("body"))
    def body_shown(self, rejected: Any) -> Any:
        if not rejected.whole_phones:
            return _("Only those who may see whole phone numbers can read it.")
        return pre(_readable(rejected))

    def get_queryset(self, request: HttpRequest) -> QuerySet[RejectedCallback]:
        # For the list; the page of one loads it.
        return super().get_queryset(request).defer("body", "search_terms")

    # Searching

    def get_search_fields(self, request: HttpRequest) -> Any:
        return self.search_fields if sees_phones(request) else ()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[RejectedCallback], search_term: str
    ) -> tuple[QuerySet[RejectedCallback], bool]:
        if not search_term.strip() or not sees_phones(request):
            return queryset, False
        wanted = [term for term in terms(search_term) if len(term) <= _LONGEST_TERM][:_MOST_TERMS]
        # Nothing to look for finds nothing.
        holding = Q(pk__in=[])
        for form in {form for term in wanted for form in (term, term.upper(), *searched(term))}:
            holding |= Q(search_terms__contains=f"\n{form}\n")
        return queryset.filter(holding), False

    # Replaying

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_plugchat.replay_rejectedcallback")

    @admin.action(permissions=["replay"], description=_("Replay"))
    @asked(most=100)  # a project's own code may hear of each
    def replay(self, request: HttpRequest, keys: list[Any]) -> Done:
        rows = RejectedCallback.objects.for_writing().filter(pk__in=keys).order_by("received_at", "pk")
        replayed = [recording.replay(rejected) is not None for rejected in rows]
        accepted = ngettext_lazy("%(count)d callback is now an event.", "%(count)d callbacks are now events.", "count")
        refused = ngettext_lazy(
            "%(count)d callback is still refused.", "%(count)d callbacks are still refused.", "count"
        )
        return len(replayed), [
            (messages.SUCCESS, accepted, replayed.count(True)),
            (messages.SUCCESS, refused, replayed.count(False)),
        ]


def _readable(rejected: RejectedCallback) -> str:
    """The body, indented where it is JSON that this app takes; any other as it came."""
    try:
        value = payloads.parse(bytes(rejected.body))
        # What is nested deeper would become huge by indenting.
        payloads.storable(value)
    except ParseError:
        return rejected.body_text
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return rejected.body_text if payloads.UNSTORABLE_CHARACTERS.search(text) else text
