"""The page of one message: its story first, then what it is found by, then what developers need."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_plugchat import times
from django_plugchat.admin import progress
from django_plugchat.admin.actions import why_waiting
from django_plugchat.admin.base import ReadOnlyAdmin, pre, shown_id, shown_phone, time_tag
from django_plugchat.admin.explanations import FAILURES, IN_GROUP, MEANINGS, outcome_pill, provider_text
from django_plugchat.conf import app_settings
from django_plugchat.models import DeliveryEvent
from django_plugchat.phones.numbers import mask_numbers, mask_phone
from django_plugchat.provider.callbacks import DELIVERY_CALLBACK
from django_plugchat.provider.errors import Failure

#: Of the events of one message. A group of 1,000 has up to 3,000.
MAX_STORY = 4_000
MAX_LINES = 50
MAX_PARTICIPANTS = 100
MAX_OTHERS = 5
#: How long after a message another one to the same number counts as another try.
_TRIED_AGAIN = timedelta(days=7)
#: PlugChat may say late what happened earlier: then both times are told.
_LATE = timedelta(minutes=2)

#: What another message is: whether it came later, whether it has the same customId.
_LATER_OR_EARLIER = {
    (True, True): _("later, with the same customId"),
    (True, False): _("later, to the same number"),
    (False, True): _("earlier, with the same customId"),
}

#: Of 64 kB each: of thousands of events they are not loaded.
_LONG_TEXTS = ("error", "error_code", "dispatch_error")

_Outcome = DeliveryEvent.Outcome


@dataclass
class Line:
    """One step of a message, or the same step of many participants of a group."""

    outcome: str
    moment: datetime
    pill: SafeString
    #: When, as people read it.
    when: SafeString
    texts: list[Any] = field(default_factory=list)
    #: What a failure means, and what to do.
    failure: tuple[Any, Any, Any] | None = None
    said: str = ""
    #: Of the event, where it is one and not the one whose page this is.
    pk: Any = None
    is_current: bool = False


class MessagePage(ReadOnlyAdmin):
    """For the admin of events."""

    change_form_template = "admin/django_plugchat/deliveryevent/change_form.html"
    # The template shows what there is: Django has no field to show.
    fieldsets = ((None, {"fields": ()}),)

    class Media:
        js = ["django_plugchat/copy.js"]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        response = super().change_view(request, object_id, form_url, extra_context)
        context = getattr(response, "context_data", None) or {}
        if event := context.get("original"):
            context.update(self._message(request, event))
        return response

    def _message(self, request: HttpRequest, event: Any) -> dict[str, Any]:
        story = self._story(request, event)
        come_to = progress.furthest(told.outcome for told in story)
        participants = _participants(story, event)
        return {
            "title": gettext("Message to %(phone)s") % {"phone": shown_phone(event, event.phone)},
            "subtitle": None,
            "account": app_settings.label(event.account),
            "come_to": outcome_pill(come_to),
            "meaning": IN_GROUP if participants else MEANINGS[_Outcome(come_to)],
            # The explanation of a failure stands beside it in the story, unless the message went out after all.
            "went_out_after_all": come_to != _Outcome.FAILED and any(told.outcome == _Outcome.FAILED for told in story),
            "lines": _lines(story, event),
            "story_is_cut": len(story) > MAX_STORY,
            "participants": participants[:MAX_PARTICIPANTS],
            "participant_count": len(participants),
            "more_participants": max(0, len(participants) - MAX_PARTICIPANTS),
            "others": self._other_messages(request, event, story, is_failed=come_to == _Outcome.FAILED),
            "is_failed": come_to == _Outcome.FAILED,
            "ids": _ids(event, story),
            "technical": _technical(event),
            "payload": pre(json.dumps(event.payload, ensure_ascii=False, indent=2)) if event.whole_phones else "",
            "may_redispatch": self.has_redispatch_permission(request),  # type: ignore[attr-defined]
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }

    def _story(self, request: HttpRequest, event: DeliveryEvent) -> list[Any]:
        """What was said about the message, in the order of what happened; this event always among it."""
        rows: Any = self.get_queryset(request)
        found = rows.for_account(event.account).for_message(event.zaap_id, event.message_id)
        found = found.defer("payload", *_LONG_TEXTS)
        # Sorted here: for an ORDER BY with a LIMIT a database may walk along all that the account has.
        story = [told for told in found.order_by()[: MAX_STORY + 1] if told.pk != event.pk]
        for told in story:
            told.whole_phones = event.whole_phones
        return sorted([*story, event], key=lambda told: (_happened(told), _step(told.outcome), told.pk))

    def _other_messages(
        self, request: HttpRequest, event: DeliveryEvent, story: list[Any], *, is_failed: bool
    ) -> list[dict[str, Any]]:
        """Messages with the same customId; of a failed one also the next to the same number: was it tried again?"""
        rows: Any = self.get_queryset(request)
        rows = rows.for_account(event.account).deliveries().order_by().defer("payload", *_LONG_TEXTS)
        own_ids = {told.zaap_id for told in story} | {""}
        custom_id = next((told.custom_id for told in story if told.custom_id), "")
        found = {told.pk: told for told in rows.for_custom_id(custom_id)[: MAX_STORY // 10]}
        same_custom_id = set(found)
        if is_failed and event.phone_digits:
            later = rows.filter(
                Q(received_at__gt=event.received_at) & Q(received_at__lt=event.received_at + _TRIED_AGAIN),
                phone_digits=event.phone_digits,
            )
            found |= {told.pk: told for told in later[: MAX_STORY // 10]}
        others = [told for told in found.values() if told.zaap_id not in own_ids]
        # The nearest ones.
        others.sort(key=lambda told: abs(told.received_at - event.received_at))
        others = sorted(others[:MAX_OTHERS], key=lambda told: told.received_at)
        come_to = progress.of_page(others)
        return [
            {
                "pk": other.pk,
                "moment": time_tag(other.received_at),
                "pill": outcome_pill(come_to[other.pk]),
                "why": _LATER_OR_EARLIER[other.received_at > event.received_at, other.pk in same_custom_id],
            }
            for other in others
        ]


def _happened(event: DeliveryEvent) -> datetime:
    return event.occurred_at or event.received_at


def _step(outcome: str) -> int:
    return _Outcome.values.index(outcome)


def _lines(story: list[Any], current: DeliveryEvent) -> list[Line]:
    of_group: dict[str, list[Any]] = {}
    shown: list[Any] = []
    for told in story:
        if told.participant:
            of_group.setdefault(told.outcome, []).append(told)
        elif len(shown) < MAX_LINES or told.pk == current.pk:
            shown.append(told)
    _load_errors(told for told in shown if told.outcome == _Outcome.FAILED)
    lines = [_line(told, current) for told in shown]
    lines += [_line_of_group(outcome, events) for outcome, events in of_group.items()]
    return sorted(lines, key=lambda line: (line.moment, _step(line.outcome)))


def _load_errors(events: Iterable[Any]) -> None:
    """Of those that are shown, in one statement."""
    by_pk = {event.pk: event for event in events if "error" in event.get_deferred_fields()}
    for pk, error, error_code in DeliveryEvent.objects.filter(pk__in=by_pk).values_list("pk", "error", "error_code"):
        by_pk[pk].error, by_pk[pk].error_code = error, error_code


def _line(event: Any, current: DeliveryEvent) -> Line:
    moment = _happened(event)
    line = Line(event.outcome, moment, outcome_pill(event.outcome), time_tag(moment), is_current=event.pk == current.pk)
    line.pk = None if line.is_current else event.pk
    if abs(event.received_at - line.moment) > _LATE:
        line.texts.append(gettext("PlugChat told it later: %(when)s") % {"when": times.shown(event.received_at)})
    if event.times_received > 1:
        text = ngettext(
            "PlugChat told it %(count)s time; the last: %(when)s",
            "PlugChat told it %(count)s times; the last: %(when)s",
            event.times_received,
        )
        line.texts.append(text % {"count": event.times_received, "when": times.shown(event.last_received_at)})
    if event.failure:
        line.failure = (Failure(event.failure).label, *FAILURES[event.failure])
        line.said = provider_text(event)
    return line


def _line_of_group(outcome: str, events: list[Any]) -> Line:
    """``events`` in the order in which they happened."""
    count = len({event.participant for event in events})
    first, last = _happened(events[0]), _happened(events[-1])
    text = ngettext("%(count)s participant of the group", "%(count)s participants of the group", count)
    texts = [text % {"count": count}]
    if last > first:
        texts.append(gettext("The last: %(when)s") % {"when": times.shown(last)})
    return Line(outcome, first, outcome_pill(outcome), time_tag(first), texts)


def _participants(story: Iterable[Any], current: DeliveryEvent) -> list[tuple[str, SafeString, SafeString]]:
    """How far the message has come for each of a group; the one whose status this is comes first."""
    furthest: dict[str, Any] = {}
    for told in story:
        known = furthest.get(told.participant)
        if told.participant and (known is None or _step(told.outcome) >= _step(known.outcome)):
            furthest[told.participant] = told

    def order(told: Any) -> Any:
        # The order of numbers that are hidden would tell how they begin.
        return told.participant if told.whole_phones else (_happened(told), told.pk)

    rows = sorted(furthest.values(), key=lambda told: (told.participant != current.participant, order(told)))
    # All are sorted, and as many are masked as are shown.
    return [
        (shown_phone(told, told.participant), outcome_pill(told.outcome), time_tag(_happened(told)))
        if number < MAX_PARTICIPANTS
        else ("", SafeString(), SafeString())
        for number, told in enumerate(rows)
    ]


def _ids(event: Any, story: list[Any]) -> list[dict[str, Any]]:
    """What the message is found by: of a status also what its delivery callback says."""
    told = [event, *(other for other in story if other.type == DELIVERY_CALLBACK)]
    names = {"zaap_id": "zaapId", "message_id": "messageId", "custom_id": "customId", "instance_id": "instanceId"}
    rows = []
    for name, label in names.items():
        if value := next((value for other in told if (value := getattr(other, name))), ""):
            shown = shown_id(event, value)
            # A masked one is good for nothing elsewhere.
            rows.append({"label": label, "value": shown, "may_copy": shown == value})
    for name in ("phone", "participant"):
        if phone := getattr(event, name):
            shown = phone if event.whole_phones else mask_phone(phone)
            rows.append({"label": _label(event, name), "value": shown, "may_copy": event.whole_phones})
    return rows


def _label(event: Any, name: str) -> str:
    return str(capfirst(event._meta.get_field(name).verbose_name))


def _technical(event: Any) -> list[tuple[Any, Any]]:
    def moment(name: str) -> tuple[Any, Any]:
        value = getattr(event, name)
        return _label(event, name), value and time_tag(value)

    dispatch = f"{event.get_dispatch_status_display()}. {why_waiting(event)}".strip()
    rows = [
        (_label(event, "dispatch_status"), dispatch),
        (_label(event, "dispatch_attempts"), event.dispatch_attempts or ""),
        moment("dispatched_at"),
        moment("dispatch_due_at"),
        (_label(event, "dispatch_error"), pre(mask_numbers(event.dispatch_error)) if event.dispatch_error else ""),
        (_label(event, "type"), event.type),
        (_label(event, "account"), format_html("<code>{}</code>", event.account)),
        (_label(event, "secret_id"), format_html("<code>{}</code>", event.secret_id)),
        moment("occurred_at"),
        moment("received_at"),
        moment("last_received_at"),
        (_label(event, "times_received"), event.times_received),
    ]
    return [(label, value) for label, value in rows if value]
