"""``{% plugchat_story zaap_id message_id %}``: what is known of a message, on a page of the project's own."""

from typing import Any

from django import template
from django.db.models import Value
from django.template import Context

from django_plugchat import accounts, story
from django_plugchat.models import DeliveryEvent

register = template.Library()
register.filter("plugchat_pill", story.outcome_pill)


@register.inclusion_tag("django_plugchat/story.html", takes_context=True)
def plugchat_story(context: Context, *ids: str | None, account: str | None = None) -> dict[str, Any]:
    """The story of the message that these ids name, as far as the reader of the page may see it.

    ``ids`` are those that the answer to sending gave, a zaapId, a messageId or both; blank ones are passed over.
    """
    user = getattr(context.get("request"), "user", None)
    whole_phones = bool(user and user.has_perm("django_plugchat.view_phone"))
    rows = DeliveryEvent.objects.annotate(whole_phones=Value(whole_phones))
    seen = accounts.seen_by(user)
    if seen is not None:
        rows = rows.filter(account__in=seen)
    if account:
        rows = rows.for_account(account)
    return {"story": story.tell(story.said_about(rows, *ids))}
