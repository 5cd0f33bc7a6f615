"""What the admin does with many rows: it asks first, does no more than a request should, and logs who did it."""

import logging
from collections.abc import Callable, Sequence
from functools import wraps
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
from django.utils.translation import gettext_lazy as _

from django_plugchat.admin.base import ReadOnlyAdmin
from django_plugchat.upkeep import deletion

logger = logging.getLogger(__name__)

#: What one request does at most.
MOST_ROWS = 1_000
_AT_A_TIME = 500

#: To how many rows something was done, and what is said of it: a level, a sentence, and the number in it, if not 0.
Done = tuple[int, list[tuple[int, Any, int]]]


def asked(
    *, instead: Any = "", most: int | None = None, flag: int = CHANGE
) -> Callable[[Callable[..., Done]], Callable[..., HttpResponse | None]]:
    """Make an action of what is done to the rows of some keys. Its question is in a template of its name.

    The log and the admin's history say who did it to how many, the latter as one entry; of no row they say anything.
    """

    def action_of(deed: Callable[..., Done]) -> Callable[..., HttpResponse | None]:
        @wraps(deed)
        def act(model_admin: ReadOnlyAdmin, request: Any, queryset: Any) -> HttpResponse | None:
            limit, opts = most or MOST_ROWS, model_admin.opts
            keys = list(queryset.for_writing().values_list("pk", flat=True)[: limit + 1])
            if len(keys) > limit:
                text = gettext("These are more than %(most)s, which is too much for one request. Choose fewer.")
                model_admin.message_user(request, f"{text % {'most': limit}} {instead}", messages.ERROR)
                return None
            title = dict(model_admin.get_action_choices(request))[deed.__name__]
            if "post" not in request.POST:
                return model_admin.own_page(
                    request,
                    f"asked/{deed.__name__}",
                    title,
                    count=len(keys),
                    name=model_ngettext(opts, len(keys)),
                    chosen=request.POST.getlist(ACTION_CHECKBOX_NAME),
                    across=request.POST.get("select_across", "0"),
                    action=deed.__name__,
                    back=request.get_full_path(),
                )
            done, sentences = deed(model_admin, request, keys)
            if done:
                logger.info("%s: %s of %d %s.", request.user.get_username(), deed.__name__, done, opts.model_name)
                LogEntry.objects.create(
                    user_id=request.user.pk,
                    content_type=ContentType.objects.get_for_model(model_admin.model),
                    object_repr=f"{done} {model_ngettext(opts, done)}"[:200],
                    action_flag=flag,
                    change_message=title,
                )
            for level, sentence, count in sentences:
                if count:
                    model_admin.message_user(request, sentence % {"count": count}, level)
            return None

        return act

    return action_of


class BoundedDeletion(ReadOnlyAdmin):
    """In place of Django's "delete selected", which lists every row on a page, however many there are."""

    actions: Sequence[Any] = ("delete_selected",)

    @action(permissions=["delete"], description=delete_selected.short_description)  # type: ignore[attr-defined]
    @asked(instead=_("To delete what is old, run: python manage.py plugchat_prune"), flag=DELETION)
    def delete_selected(self, request: HttpRequest, keys: list[Any]) -> Done:
        rows, keys = self.model._default_manager.for_writing(), self.whole(keys)
        for start in range(0, len(keys), _AT_A_TIME):
            # With whatever a project's own models hang on them.
            if self.get_deleted_objects(rows.filter(pk__in=keys[start : start + _AT_A_TIME]), request)[2]:
                raise PermissionDenied
        done = deletion.delete(rows, keys)
        gone = ngettext_lazy("%(count)s was deleted.", "%(count)s were deleted.", "count")
        kept = ngettext_lazy(
            "%(count)s stays: another model's rows need it.", "%(count)s stay: another model's rows need them.", "count"
        )
        return done.deleted, [(messages.SUCCESS, gone, done.deleted), (messages.WARNING, kept, len(done.needed))]

    def whole(self, keys: list[Any]) -> list[Any]:
        """With the keys of what is not kept without them."""
        return keys
