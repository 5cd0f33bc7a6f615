"""What the admin does with many rows: it asks first, does no more than a request should, and logs who did it."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import messages
from django.contrib.admin import action
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.admin.utils import model_ngettext
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, ngettext_lazy

from django_plugchat.admin.base import ReadOnlyAdmin
from django_plugchat.upkeep import deletion

logger = logging.getLogger(__name__)

#: What one request does at most.
MOST_ROWS = 1_000
AT_A_TIME = 500

#: What is said of what was done: a level, a sentence, and the number of rows in it, if not 0. Done are the successes.
Done = list[tuple[int, Any, int]]


class BoundedActions(ReadOnlyAdmin):
    """Deletion is in place of Django's "delete selected", which lists every row on a page, however many there are."""

    actions: Sequence[Any] = ("delete_selected",)

    def ask(self, request: Any, rows: Any, deed: Callable[..., Done], most: int | None = None) -> HttpResponse | None:
        """Do something to the rows of some keys, once a person said yes to a question, in a template of its name.

        The log and the admin's history say who did it to how many, the latter as one entry; they name no row.
        """
        name, limit = deed.__name__.removeprefix("_"), most or MOST_ROWS
        keys = list(rows.for_writing().values_list("pk", flat=True)[: limit + 1])
        if len(keys) > limit:
            text = gettext("These are more than %(most)s, which is too much for one request. Choose fewer.")
            if name == "delete_selected":
                text += " " + gettext("To delete what is old, run: python manage.py plugchat_prune")
            self.message_user(request, text % {"most": limit}, messages.ERROR)
            return None
        title = dict(self.get_action_choices(request))[name]
        if "post" not in request.POST:
            chosen, named = request.POST.getlist(ACTION_CHECKBOX_NAME), model_ngettext(self.opts, len(keys))
            context = {"action": name, "chosen": chosen, "count": len(keys), "name": named}
            return self.own_page(request, f"asked/{name}", title, **context)
        sentences = deed(request, keys)
        for level, sentence, count in sentences:
            if count:
                self.message_user(request, sentence % {"count": count}, level)
        if done := sum(count for level, _sentence, count in sentences if level == messages.SUCCESS):
            logger.info("%s: %s of %d %s.", request.user.get_username(), name, done, self.opts.model_name)
            LogEntry.objects.create(
                user=request.user,
                content_type=ContentType.objects.get_for_model(self.model),
                object_repr=f"{done} {model_ngettext(self.opts, done)}",
                action_flag=DELETION if name == "delete_selected" else CHANGE,
                change_message=title,
            )
        return None

    @action(permissions=["delete"], description=delete_selected.short_description)  # type: ignore[attr-defined]
    def delete_selected(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        return self.ask(request, queryset, self._delete_selected)

    def _delete_selected(self, request: HttpRequest, keys: list[Any]) -> Done:
        rows = self.model._default_manager.for_writing()
        for start in range(0, len(keys), AT_A_TIME):
            # With whatever a project's own models hang on them.
            if self.get_deleted_objects(rows.filter(pk__in=keys[start : start + AT_A_TIME]), request)[2]:
                raise PermissionDenied
        done = deletion.delete(rows, keys)
        gone = ngettext_lazy("%(count)s was deleted.", "%(count)s were deleted.", "count")
        kept = ngettext_lazy(
            "%(count)s stays: another model's rows need it.", "%(count)s stay: another model's rows need them.", "count"
        )
        return [(messages.SUCCESS, gone, done.deleted), (messages.WARNING, kept, len(done.needed))]
