"""Callbacks that were refused: read, understood, and tried again."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from django_plugchat import recording
from django_plugchat.admin.actions import BoundedActions, Done
from django_plugchat.admin.base import pre
from django_plugchat.admin.filters import AccountFilter, ReceivedFilter
from django_plugchat.models import RejectedCallback


@admin.register(RejectedCallback)
class RejectedCallbackAdmin(BoundedActions):
    deferred = ("body",)
    list_display = ("received", "wrong", "account_label")
    list_filter = (ReceivedFilter, AccountFilter, "reason")
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
        return pre(rejected.body_text)

    # Replaying

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
