"""Callbacks that were refused: read, understood, and tried again."""

import json
import re
from itertools import islice
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _, ngettext_lazy
from rest_framework.exceptions import ParseError

from django_plugchat import payloads, recording
from django_plugchat.admin.actions import BoundedActions, Done
from django_plugchat.admin.base import sees_phones
from django_plugchat.admin.filters import AccountFilter, ReceivedFilter
from django_plugchat.admin.search import terms
from django_plugchat.models import RejectedCallback
from django_plugchat.phones.numbers import SHORTEST_NUMBER, searched
from django_plugchat.phones.reading import plain

#: A search reads the newest of those that the filters leave, so many at a time.
MAX_SEARCHED = 10_000
AT_A_TIME = 500
_MOST_TERMS = 10


@admin.register(RejectedCallback)
class RejectedCallbackAdmin(BoundedActions):
    deferred = ("body",)
    list_display = ("received", "wrong", "account_label")
    list_filter = (ReceivedFilter, AccountFilter, "reason")
    search_help_text = _("A phone number, however it is written, or a whole zaapId, customId or messageId.")
    actions = ("replay", "delete_selected")
    # What to do about it stands above them, in the template.
    fields = ("wrong", "received_at", "last_received_at", "times_received", "account_label", "secret_id", "body_shown")

    @admin.display(description=_("what is wrong"))
    def wrong(self, rejected: RejectedCallback) -> str:
        return render_to_string("admin/django_plugchat/rejectedcallback/wrong.html", {"rejected": rejected})

    @admin.display(description=_("body"))
    def body_shown(self, rejected: Any) -> Any:
        if not rejected.whole_phones:
            return _("Only those who may see whole phone numbers can read it.")
        try:
            text = json.dumps(payloads.storable(payloads.parse(bytes(rejected.body))), ensure_ascii=False, indent=2)
        except ParseError:
            text = rejected.body_text
        return format_html('<pre class="plugchat-pre" tabindex="0">{}</pre>', text)

    def get_search_fields(self, request: HttpRequest) -> Any:
        return ("body",) if sees_phones(request) else ()

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        if not search_term.strip() or not sees_phones(request):
            return queryset, False
        wanted = {form.upper() for term in terms(search_term)[:_MOST_TERMS] for form in (term, *searched(term))}
        batches = queryset.defer(None).only("body", "received_at").in_batches(AT_A_TIME, by="-received_at")
        rows = (row for batch in islice(batches, MAX_SEARCHED // AT_A_TIME) for row in batch)
        return queryset.filter(pk__in=[row.pk for row in rows if _holds(row.body_text, wanted)]), False

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_plugchat.replay_rejectedcallback")

    @admin.action(permissions=["replay"], description=_("Replay"))
    def replay(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        return self.ask(request, queryset, self._replay, most=100)  # a project's own code may hear of each

    def _replay(self, request: HttpRequest, keys: list[Any]) -> Done:
        rows = RejectedCallback.objects.for_writing().filter(pk__in=keys).order_by("received_at", "pk")
        replayed = [recording.replay(rejected) is not None for rejected in rows]
        accepted = ngettext_lazy("%(count)d callback is now an event.", "%(count)d callbacks are now events.", "count")
        refused = ngettext_lazy(
            "%(count)d callback is still refused.", "%(count)d callbacks are still refused.", "count"
        )
        return [(messages.SUCCESS, accepted, replayed.count(True)), (messages.SUCCESS, refused, replayed.count(False))]


def _holds(body: str, wanted: set[str]) -> bool:
    """Whether a body has any of these ids and numbers, in upper case: as a word or, if long, however it writes them."""
    text = plain(body).upper()
    if not wanted.isdisjoint(re.findall(r"[\w-]+", text)):
        return True
    squeezed = _squeezed(text)
    return any(len(form) >= SHORTEST_NUMBER and form in squeezed for form in map(_squeezed, wanted))


def _squeezed(text: str) -> str:
    return re.sub(r"[\W_]+", "", text)
