"""Why messages failed, read again when the provider's texts are known better."""

import pytest

from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.errors import known
from django_plugchat.upkeep import failures

from .rows import event

pytestmark = pytest.mark.django_db(transaction=True)


def failed(error: str, failure: str, **fields: str) -> DeliveryEvent:
    return event(outcome="failed", error=error, failure=failure, **fields)


def test_rows_of_an_earlier_version_are_classified_again(django_assert_num_queries):
    rows = [
        failed("Phone number does not exist", "other"),
        failed("Phone number does not exist.", "number"),
        failed("Something new", "other"),
        failed("", "other", error_code="SHADOW_BAN"),
        event(),
    ]
    # Two reads, since the first may not have been all, and a write for each kind.
    with django_assert_num_queries(4):
        assert failures.classify_again() == 2
    kinds = dict(DeliveryEvent.objects.values_list("pk", "failure"))
    assert [kinds[row.pk] for row in rows] == ["number", "number", "other", "restricted", ""]
    assert failures.classify_again() == 0


@pytest.mark.parametrize(
    ("error", "error_code", "what_is_known"),
    [
        ("phone number does not exist.", "", ("number", "Phone number does not exist", "")),
        ("Timeout on send message", "shadow_ban.", ("restricted", "Timeout on send message", "SHADOW_BAN")),
        ("Unsupported sticker format: 5544988771234", "", ("media", "Unsupported sticker format: …", "")),
        ("5544988771234 not available to channels.", "", ("request", "… not available to channels", "")),
        ("ask 5544988771234", "5544988771234", ("other", "", "")),
        ("…", "SHADOW_BAN", ("restricted", "", "SHADOW_BAN")),
        ("", "", ("other", "", "")),
        ("", "5544988771234", ("other", "", "")),
    ],
)
def test_what_is_known_of_an_error_holds_nothing_else(error, error_code, what_is_known):
    assert known(error, error_code) == what_is_known
