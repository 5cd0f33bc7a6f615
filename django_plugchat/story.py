"""The story of a message, for people who answer customers. What its steps mean is in ``story.html``."""

from datetime import datetime, timedelta
from typing import Any

from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import Truncator

from django_plugchat.conf import app_settings
from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.errors import known
from django_plugchat.querysets import DeliveryEventQuerySet

#: Of the events of one message. A group of 1,000 has up to 3,000.
MAX_EVENTS = 4_000
MAX_FAILURES = 20
#: PlugChat may say late what happened earlier: then both times are told.
_LATE = timedelta(minutes=2)
#: Of 64 kB each: of thousands of events they are not loaded.
_LONG = ("payload", "dispatch_error")

_Outcome = DeliveryEvent.Outcome
#: As WhatsApp draws them: people know its ticks.
_SYMBOLS = {"sent": "✓", "failed": "✕", "received": "✓✓", "read": "✓✓", "played": "▶"}


def pill(kind: str, text: Any, symbol: str = "") -> str:
    """A state, as a word; its colour, chosen by ``kind``, and its symbol only repeat it."""
    mark = format_html('<span aria-hidden="true">{}</span> ', symbol) if symbol else ""
    return format_html('<span class="plugchat-pill plugchat-{}">{}{}</span>', kind, mark, text)


def outcome_pill(outcome: str) -> str:
    return pill(outcome, dict(_Outcome.choices).get(outcome, outcome), _SYMBOLS.get(outcome, ""))


def provider_text(event: Any) -> str:
    """What PlugChat gave as the reason, in its words; without ``view_phone`` only words that its documentation has."""
    texts = (event.error, event.error_code)
    if not event.whole_phones:
        texts = known(*texts)[1:]
    return Truncator(" · ".join(filter(None, texts))).chars(300)


def happened(event: DeliveryEvent) -> datetime:
    return event.occurred_at or event.received_at


def is_late(event: DeliveryEvent) -> bool:
    return event.dispatch_due_at is not None and event.dispatch_due_at <= timezone.now()


def why_waiting(event: DeliveryEvent) -> str:
    """Why the project's code has not taken an event, and until when it waits; "" where nothing is to be said."""
    context = {"event": event, "is_late": is_late(event), "attempts": app_settings.dispatch_max_attempts}
    text = render_to_string("django_plugchat/why_waiting.html", context)
    # A time at the end of a sentence may end in a stop of its own: "p.m.".
    return text.strip().replace("..", ".")


class Step:
    """What a message came to: the events that say so, in the order in which they happened."""

    def __init__(self, events: list[Any], before: datetime | None) -> None:
        self.first, self.outcome, self.moment = events[0], events[0].outcome, happened(events[0])
        self.words = provider_text(self.first) if self.first.failure else ""
        self.is_told_late = self.first.received_at - self.moment > _LATE
        #: When the step before it was, and how long ago that was then.
        self.before, self.seconds = before, int((self.moment - (before or self.moment)).total_seconds())
        #: Of a group, how many say so, and when the last of them did.
        self.participants, self.last = len({event.participant for event in events} - {""}), happened(events[-1])


class Story:
    """What is known of one message: what these events say, and how far it has come by them."""

    def __init__(self, events: list[Any], progress: str) -> None:
        # In the order of Outcome each goes further than those before it.
        further = {outcome: number for number, outcome in enumerate(_Outcome.values)}
        self.events = sorted(events, key=lambda each: (happened(each), further.get(each.outcome, 0), each.pk))
        self.progress, self.is_failed = progress, progress == _Outcome.FAILED
        self.is_cut = len(events) > MAX_EVENTS
        groups: dict[Any, list[Any]] = {}
        for event in self.events:
            # Each failure is a step of its own.
            groups.setdefault(event.pk if event.outcome == _Outcome.FAILED else event.outcome, []).append(event)
        self.steps: list[Step] = []
        for group in groups.values():
            self.steps.append(Step(group, self.steps[-1].moment if self.steps else None))
        #: PlugChat had called it failed at first.
        self.is_saved = not self.is_failed and any(step.first.failure for step in self.steps)
        furthest_last = sorted(self.events, key=lambda each: further.get(each.outcome, 0))
        #: Of each participant of a group, the event that says how far the message has come for them.
        self.participants = {event.participant: event for event in furthest_last if event.participant}


def said_about(rows: DeliveryEventQuerySet, *ids: Any) -> DeliveryEventQuerySet:
    """All that was said about a message. A status leads by its delivery callback to what has no messageId."""
    said = rows.for_message(*ids)
    zaap_ids = set(said.order_by().deliveries().values_list("zaap_id", flat=True)[:MAX_FAILURES])
    return said if zaap_ids <= {"", *ids} else rows.for_message(*ids, *zaap_ids)


def tell(said: DeliveryEventQuerySet) -> Story | None:
    """The story of the message that was said this about, masked as ``whole_phones`` says; None where nothing was."""
    # Sorted here: for an ORDER BY with a LIMIT a database may walk along all that an account has.
    said = said.order_by()
    others = said.exclude(outcome=_Outcome.FAILED).defer(*_LONG, "error", "error_code")
    events = [*said.failed().defer(*_LONG)[:MAX_FAILURES], *others[: MAX_EVENTS + 1]]
    return Story(events, said.furthest()) if events else None
