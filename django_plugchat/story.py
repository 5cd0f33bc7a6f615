"""The story of a message, for people who answer customers: each step once, what a failure means and what to do."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from django.utils.text import Truncator
from django.utils.timesince import timesince
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_plugchat import times
from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.errors import Failure, known_code, known_text
from django_plugchat.querysets import DeliveryEventQuerySet

#: Of the events of one message. A group of 1,000 has up to 3,000.
MAX_EVENTS = 4_000
MAX_FAILURES = 20
#: PlugChat may say late what happened earlier: then both times are told.
_LATE = timedelta(minutes=2)
_MINUTE = timedelta(minutes=1)
#: Of 64 kB each: of thousands of events they are not loaded.
_LONG = ("payload", "dispatch_error")

_Outcome = DeliveryEvent.Outcome

#: As WhatsApp draws them: people know its ticks.
SYMBOLS: dict[str, str] = {
    _Outcome.SENT: "✓",
    _Outcome.FAILED: "✕",
    _Outcome.RECEIVED: "✓✓",
    _Outcome.READ: "✓✓",
    _Outcome.PLAYED: "▶",
}

#: How far a message has come, and what that does not say.
MEANINGS: dict[str, Any] = {
    _Outcome.SENT: _(
        "PlugChat handed the message to WhatsApp. Whether the contact received it, PlugChat has not said: the phone "
        "may be off, or PlugChat does not call this site for statuses."
    ),
    _Outcome.FAILED: _("The message was not sent."),
    _Outcome.RECEIVED: _(
        "The message is on the contact's phone. It may have been read: contacts can switch off that WhatsApp tells."
    ),
    _Outcome.READ: _("The contact opened the chat and saw the message."),
    _Outcome.PLAYED: _("The contact played the audio or video."),
}
_IN_GROUP = _("This is so for at least one participant of the group.")

#: What each kind of failure means, and what to do.
FAILURES: dict[str, tuple[Any, Any]] = {
    Failure.NUMBER: (
        _("This number has no WhatsApp, or is not a whole number."),
        _(
            "Check the country, the area and the ninth digit, and ask the customer for the right number. Sending "
            "again to the same number fails again."
        ),
    ),
    Failure.RESTRICTED: (
        _("WhatsApp, or the group, does not let this sender write."),
        _(
            "In a group, ask its administrator. Else pause bulk sending, answer only those who write first, and start "
            "again slowly some days later: WhatsApp restricts who writes to many people that do not know the sender."
        ),
    ),
    Failure.TEMPORARY: (
        _("WhatsApp or PlugChat did not answer in time."),
        _(
            "The message may have gone out all the same. Look below, and on the phone, before you send it again. If it "
            "happens often, check in PlugChat that the instance is connected."
        ),
    ),
    Failure.MEDIA: (
        _("WhatsApp could not use the file, or could not fetch it from its link."),
        _("Open the link in a private window: it must lead to the file itself, of a type that WhatsApp takes."),
    ),
    Failure.REQUEST: (
        _("What was asked for is not possible."),
        _("The code that sends has to change. Show its developers the text of PlugChat."),
    ),
    Failure.OTHER: (
        _("PlugChat gave a reason that is not known here."),
        _("Ask PlugChat's support what it means. Give them the zaapId."),
    ),
}


def provider_text(event: Any, length: int = 300) -> str:
    """What PlugChat gave as the reason, in its words; without ``view_phone`` only words that its documentation has."""
    if event.whole_phones:
        texts = [event.error, event.error_code]
    else:
        texts = [known_text(event.error), known_code(event.error_code)]
    # Cut first: a text may have 64 kB.
    return Truncator(" · ".join(text[: length + 1] for text in texts if text)).chars(length)


def happened(event: DeliveryEvent) -> datetime:
    return event.occurred_at or event.received_at


@dataclass
class Step:
    """What a message came to: the events that say so, in the order in which they happened."""

    events: list[Any]
    #: When the step before it happened.
    before: datetime | None = None

    @property
    def outcome(self) -> str:
        return str(self.events[0].outcome)

    @property
    def label(self) -> str:
        return str(self.events[0].get_outcome_display())

    @property
    def symbol(self) -> str:
        return SYMBOLS.get(self.outcome, "")

    @property
    def moment(self) -> datetime:
        return happened(self.events[0])

    @property
    def time(self) -> str:
        return times.shown(self.moment, seconds=True)

    @property
    def later(self) -> str:
        """How long after the step before it; "" for the first one, and within the same second."""
        span = self.moment - (self.before or self.moment)
        if span >= _MINUTE:
            return gettext("%(span)s later") % {"span": timesince(self.before, self.moment)}  # type: ignore[arg-type]
        return gettext("%(seconds)d s later") % {"seconds": span.seconds} if span.seconds else ""

    @property
    def notes(self) -> list[str]:
        first, last, texts = self.events[0], self.events[-1], []
        if first.received_at - self.moment > _LATE:
            texts.append(gettext("PlugChat told it later: %(when)s") % {"when": times.shown(first.received_at)})
        if count := len({event.participant for event in self.events} - {""}):
            text = ngettext("%(count)s participant of the group", "%(count)s participants of the group", count)
            texts.append(text % {"count": count})
            if happened(last) > self.moment:
                texts.append(gettext("The last: %(when)s") % {"when": times.shown(happened(last), seconds=True)})
        return texts

    @property
    def failure(self) -> dict[str, Any] | None:
        event = self.events[0]
        if event.failure not in FAILURES:
            return None
        meaning, advice = FAILURES[event.failure]
        kind = Failure(event.failure).label
        return {"kind": kind, "meaning": meaning, "advice": advice, "words": provider_text(event)}


@dataclass
class Story:
    """What is known of one message."""

    #: How far it has come.
    progress: str
    steps: list[Step]
    #: Of each participant of a group, the event that says how far the message has come for them.
    participants: dict[str, Any] = field(default_factory=dict)
    is_cut: bool = False

    @property
    def events(self) -> list[Any]:
        return [event for step in self.steps for event in step.events]

    @property
    def label(self) -> Any:
        return dict(_Outcome.choices).get(self.progress, self.progress)

    @property
    def symbol(self) -> str:
        return SYMBOLS.get(self.progress, "")

    @property
    def is_failed(self) -> bool:
        return self.progress == _Outcome.FAILED

    @property
    def meaning(self) -> list[Any]:
        meaning = [_IN_GROUP if self.participants else MEANINGS.get(self.progress, "")]
        if not self.is_failed and any(step.failure for step in self.steps):
            meaning.append(_("PlugChat had called it failed at first, but it went out after all."))
        return meaning


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
    if not events:
        return None
    # In the order of Outcome each goes further than those before it.
    order = {outcome: number for number, outcome in enumerate(_Outcome.values)}
    events.sort(key=lambda event: (happened(event), order.get(event.outcome, 0), event.pk))
    steps: dict[Any, Step] = {}
    for event in events:
        event.whole_phones = whole_phones
        # Each failure is a step of its own.
        name = event.pk if event.outcome == _Outcome.FAILED else event.outcome
        steps.setdefault(name, Step([])).events.append(event)
    for before, step in pairwise(steps.values()):
        step.before = before.moment
    furthest_last = sorted(events, key=lambda event: order.get(event.outcome, 0))
    participants = {event.participant: event for event in furthest_last if event.participant}
    return Story(said.furthest(), list(steps.values()), participants, is_cut=len(events) > MAX_EVENTS)
