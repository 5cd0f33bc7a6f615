"""The page of one message: its story first, then what it is found by, then what developers need."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst
from django.utils.translation import gettext

from django_plugchat import accounts, story, times
from django_plugchat.admin.base import ReadOnlyAdmin, shown_phone
from django_plugchat.models import DeliveryEvent
from django_plugchat.phones.numbers import mask_id, mask_numbers, mask_phone
from django_plugchat.provider.callbacks import DELIVERY_CALLBACK
from django_plugchat.upkeep import deletion

MAX_OTHERS = 5
#: How long after a message another one to the same number counts as another try.
_TRIED_AGAIN = timedelta(days=7)
_MOST_COMPARED = 400

#: The fields that developers see of an event, beside its ids and its payload.
_TECHNICAL = (
    *("dispatch_status", "dispatch_attempts", "dispatched_at", "dispatch_due_at", "dispatch_error", "type"),
    *("account", "secret_id", "occurred_at", "received_at", "last_received_at", "times_received"),
)
#: What a message is found by, and how that is shown to those who may not see whole numbers.
_IDS = {
    **dict.fromkeys(("zaap_id", "message_id", "custom_id", "instance_id"), mask_id),
    **dict.fromkeys(("phone", "participant"), mask_phone),
}
_Status = DeliveryEvent.DispatchStatus
#: The project's own code failed to take these in, or has not taken them in yet.
_NOT_TAKEN = {_Status.PENDING, _Status.RUNNING, _Status.RETRYING, _Status.EXHAUSTED}


class MessagePage(ReadOnlyAdmin):
    """For the admin of events. Each event of a message leads to the same page, but for what developers need."""

    change_form_template = "admin/django_plugchat/deliveryevent/change_form.html"
    delete_confirmation_template = "admin/django_plugchat/deliveryevent/delete_confirmation.html"
    # The template shows what there is: Django has no field to show.
    fieldsets = ((None, {"fields": ()}),)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        event = super().get_object(request, object_id, from_field)
        if event is not None:
            rows: Any = self.get_queryset(request)
            event.said = story.said_about(rows.for_account(event.account), event.zaap_id, event.message_id)
            # What it is called, on this page and on those about its deletion.
            event.progress = event.said.furthest() or event.outcome
        return event

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        event = context["original"]
        told = story.tell(event.said) or story.Story([event], event.outcome)
        deliveries = [said for said in told.events if said.type == DELIVERY_CALLBACK]
        # Statuses may name the contact by another id than the delivery callback does.
        phone = shown_phone(event, [*deliveries, event][0].phone)
        custom_id = next((said.custom_id for said in told.events if said.custom_id), "")
        # Each step in each state once: a group has thousands.
        kinds = {(said.outcome, said.dispatch_status): said for said in told.events}.values()
        context |= {
            "title": gettext("Message to %(phone)s") % {"phone": phone},
            "subtitle": None,
            "account": accounts.label(event.account),
            "story": told,
            "not_taken": [(said, story.why_waiting(said)) for said in kinds if said.dispatch_status in _NOT_TAKEN],
            "participants": _participants(told, event),
            "others": self._other_messages(request, event, told, custom_id),
            "custom_id": custom_id,
            "ids": list(_ids(event, deliveries)),
            "technical": _technical(event),
            "payload": json.dumps(event.payload, ensure_ascii=False, indent=2),
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def _other_messages(self, request: HttpRequest, event: Any, told: story.Story, custom_id: str) -> list[Any]:
        """Messages with the same customId; of a failed one also the next to the same number: was it tried again?"""
        rows: Any = self.get_queryset(request)
        rows = rows.for_account(event.account).deliveries().order_by().only("zaap_id", "custom_id", "received_at")
        found = list(rows.for_custom_id(custom_id)[:_MOST_COMPARED])
        if told.is_failed and event.phone_digits:
            later = rows.filter(received_at__gt=event.received_at, received_at__lt=event.received_at + _TRIED_AGAIN)
            found += later.filter(phone_digits=event.phone_digits)[:_MOST_COMPARED]
        own_ids = {said.zaap_id for said in told.events}
        others = {other.pk: other for other in found if other.zaap_id not in own_ids}
        nearest = sorted(others, key=lambda pk: abs(others[pk].received_at - event.received_at))[:MAX_OTHERS]
        return list(rows.messages().filter(pk__in=nearest).order_by("received_at", "pk"))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        whole = [said for event in objs for said in getattr(event, "said", [event])]
        return super().get_deleted_objects(whole, request)

    def delete_model(self, request: HttpRequest, event: Any) -> None:
        rows = event.said.for_writing()
        deletion.delete(rows, list(rows.values_list("pk", flat=True)))


def _participants(told: story.Story, current: Any) -> list[tuple[str, Any, datetime]]:
    """Of each of a group the number, how far the message has come and since when."""
    # First the one whose status this is, then by time: the order of numbers that are hidden would tell how they begin.
    shown = sorted(
        told.participants.values(), key=lambda it: (it.participant != current.participant, story.happened(it), it.pk)
    )
    return [(shown_phone(it, it.participant), it.outcome, story.happened(it)) for it in shown]


def _ids(event: Any, deliveries: list[Any]) -> Iterator[tuple[Any, str, bool]]:
    """What the message is found by, of a status also what its delivery callback says: label, text, and if it is all."""
    for name, mask in _IDS.items():
        if value := next(filter(None, (getattr(said, name) for said in (event, *deliveries))), ""):
            shown = value if event.whole_phones else mask(value)
            # A masked one is good for nothing elsewhere.
            yield _label(name), shown, shown == value


def _label(name: str) -> Any:
    field: Any = DeliveryEvent._meta.get_field(name)
    return field.verbose_name


def _technical(event: Any) -> list[tuple[str, Any]]:
    shown = {name: getattr(event, name) for name in _TECHNICAL}
    shown |= {name: times.shown(value) for name, value in shown.items() if isinstance(value, datetime)}
    shown["dispatch_status"] = f"{event.get_dispatch_status_display()}. {story.why_waiting(event)}"
    shown["dispatch_error"] = mask_numbers(event.dispatch_error)
    return [(capfirst(_label(name)), value) for name, value in shown.items() if value]
