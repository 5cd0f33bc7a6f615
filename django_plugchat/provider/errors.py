"""Why a message was not sent: the provider's error texts, read as one of six kinds."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Failure(models.TextChoices):
    """The kinds, by what can be done about them."""

    NUMBER = "number", _("The number can't be reached")
    RESTRICTED = "restricted", _("WhatsApp restricts the sender")
    TEMPORARY = "temporary", _("Temporary failure")
    MEDIA = "media", _("File or link not accepted")
    REQUEST = "request", _("Invalid request")
    OTHER = "other", _("Unknown error")


#: The texts of ``error``, by what can be done about them (Z-API's documentation, 2026-07). For … stands something of
#: the message: a content type, a kind of message.
ERRORS_BY_KIND: dict[str, tuple[str, ...]] = {
    "number": ("Phone number does not exist", "Message has not been sent because it got invalid phone number"),
    "restricted": (
        "The message was not sent due to a likely shadow ban",
        "Whatsapp rejected sending this message",
        "Whatsapp did not allow sending this message",
        "Did not have permission to send this message.",
        "Does not have permission to send the message",
        "You can't message this group as you don't have permission",
    ),
    "temporary": (
        "Timeout on send message",
        "Error on send message",
        "It was not possible to send message to queue due to request error.",
    ),
    "media": (
        "Message not send caused by invalid media url",
        "Got a 404 error while trying to send message",
        "The url informed is not a valid url in the media format, apparently it can be an html",
        "Message has not been sent because an error occurred in the conversion",
        "Unsupported sticker format: …",
    ),
    "request": (
        "Message has not been sent because it got invalid request params.",
        "This type of message can only be sent in groups",
        "You must accept buttons message terms in panel to send this message.",
        "Message has not been edited because it has been more than 7 days",
        "Comment message has not been sent because it has more than 7 days",
        "Message does not forward because it was not found",
        "Status reply has not been sent because the status message was not found",
        "Product message has not been sent because provided product id was not found.",
        "Product message has not been sent because provided catalog phone must not be a lid.",
        "Catalog message has not been sent because the catalog was not found.",
        "Order has not been sent because it received invalid currency code",
        "Update order has not been sent because it received invalid request data.",
        "Newsletter poll vote was not sent because of missing identifier.",
        "Event edit message was not sent because the phone is not from a group.",
        "Event edit message was not sent because receive invalid date time.",
        "… not available to channels",
    ),
}
#: The values of ``errorCode``, of which one is known.
ERROR_CODES = {"SHADOW_BAN": "restricted"}


def _plain(text: str) -> str:
    # The live wording may differ in case and a full stop.
    return text.lower().removesuffix(".")


_KNOWN = [(kind, text, _plain(text).partition("…")) for kind, texts in ERRORS_BY_KIND.items() for text in texts]


def known(error: str, error_code: str = "") -> tuple[str, str, str]:
    """What the documentation knows of an error: its kind, by the code first; its text and its code, "" if unknown."""
    given, code = _plain(error), _plain(error_code).upper()
    if code not in ERROR_CODES:
        code = ""
    for kind, text, (beginning, is_open, ending) in _KNOWN:
        if (given.startswith(beginning) and given.endswith(ending)) if is_open else given == beginning:
            return ERROR_CODES.get(code, kind), text, code
    return ERROR_CODES.get(code, Failure.OTHER.value), "", code


def kind_of(error: str, error_code: str = "") -> str:
    """The ``Failure`` value of an error that the provider gave."""
    return known(error, error_code)[0]
