"""What outcomes and failures mean, and what to do: for people who answer customers."""

from __future__ import annotations

from typing import Any

from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from django_plugchat.admin.base import pill
from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.errors import Failure, known_code, known_text

_Outcome = DeliveryEvent.Outcome

#: As WhatsApp draws them: people know its ticks.
SYMBOLS = {
    _Outcome.SENT: "✓",
    _Outcome.FAILED: "✕",
    _Outcome.RECEIVED: "✓✓",
    _Outcome.READ: "✓✓",
    _Outcome.PLAYED: "▶",
}

#: How far a message has come, and what that does not say.
MEANINGS = {
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

IN_GROUP = _("This is so for at least one participant of the group. Below is how far it has come for each of them.")

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


def outcome_pill(outcome: str) -> SafeString:
    known = _Outcome(outcome)
    return pill(known.value, known.label, SYMBOLS[known])


def provider_text(event: Any, length: int = 300) -> str:
    """What PlugChat gave as the reason, in its words; without ``view_phone`` only words that its documentation has."""
    if event.whole_phones:
        texts = [event.error, event.error_code]
    else:
        texts = [known_text(event.error), known_code(event.error_code)]
    # Cut first: a text may have 64 kB.
    return Truncator(" · ".join(text[: length + 1] for text in texts if text)).chars(length)
