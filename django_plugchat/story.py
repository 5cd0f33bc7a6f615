"""The story of a message, for people who answer customers. What its steps mean is in ``story.html``."""

from datetime import datetime, timedelta
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.timesince import timesince
from django.utils.translation import gettext, ngettext

from django_plugchat import times
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


def outcome_pill(outcome: str) -> SafeString:
    """An outcome, as a word; its colour and its symbol only repeat it."""
    text = '<span class="plugchat-pill plugchat-{}"><span aria-hidden="true">{}</span> {}</span>'
    return format_html(text, outcome, _SYMBOLS.get(outcome, ""), dict(_Outcome.choices).get(outcome, outcome))


def provider_text(event: Any, length: int = 300) -> str:
    """What PlugChat gave as the reason, in its words; without ``view_phone`` only words that its documentation has."""
    texts = (event.error, event.error_code)
    if not event.whole_phones:
        texts = known(*texts)[1:]
    # Cut first: a text may have 64 kB.
    return Truncator(" · ".join(text[: length + 1] for text in texts if text)).chars(length)


def happened(event: DeliveryEvent) -> datetime:
    return event.occurred_at or event.received_at


class Step:
    """What a message came to: the events that say so, in the order in which they happened."""

    def __init__(self, events: list[Any], before: datetime | None = None) -> None:
        self.events, self.first, self.moment = events, events[0], happened(events[0])
        self.outcome, self.pill = self.first.outcome, outcome_pill(self.first.outcome)
        self.time = times.shown(self.moment, seconds=True)
        self.words = provider_text(self.first) if self.first.failure else ""
        #: How long after the step before it; "" for the first one, and within the same second.
        self.later, span = "", self.moment - (before or self.moment)
        if span >= timedelta(minutes=1):
            self.later = gettext("%(span)s later") % {"span": timesince(self.moment - span, self.moment)}
        elif span.seconds:
            self.later = gettext("%(seconds)d s later") % {"seconds": span.seconds}

    def notes(self) -> list[str]:
        last, texts = self.events[-1], []
        if self.first.received_at - self.moment > _LATE:
            texts.append(gettext("PlugChat told it later: %(when)s") % {"when": times.shown(self.first.received_at)})
        if count := len({event.participant for event in self.events} - {""}):
            text = ngettext("%(count)s participant of the group", "%(count)s participants of the group", count)
            texts.append(text % {"count": count})
            if happened(last) > self.moment:
                texts.append(gettext("The last: %(when)s") % {"when": times.shown(happened(last), seconds=True)})
        return texts


class Story:
    """What is known of one message: what these events say, and how far it has come by them."""

    def __init__(self, events: list[Any], progress: str) -> None:
        # In the order of Outcome each goes further than those before it.
        further = {outcome: number for number, outcome in enumerate(_Outcome.values)}
        self.events = sorted(events, key=lambda each: (happened(each), further.get(each.outcome, 0), each.pk))
        self.progress, self.pill, self.is_failed = progress, outcome_pill(progress), progress == _Outcome.FAILED
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


def tell(said: DeliveryEventQuerySet, *, whole_phones: bool) -> Story | None:
    """The story of the message that was said this about; None where nothing was."""
    # Sorted here: for an ORDER BY with a LIMIT a database may walk along all that an account has.
    said = said.order_by()
    others = said.exclude(outcome=_Outcome.FAILED).defer(*_LONG, "error", "error_code")
    events = [*said.failed().defer(*_LONG)[:MAX_FAILURES], *others[: MAX_EVENTS + 1]]
    for event in events:
        event.whole_phones = whole_phones
    return Story(events, said.furthest()) if events else None
