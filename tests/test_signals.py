"""What receivers raise, and TellAgain: a receiver that can't use an event yet."""

import functools
import logging
from datetime import timedelta

import pytest
from django.utils import timezone

from django_plugchat import dispatch
from django_plugchat.dispatch import Attempt
from django_plugchat.signals import TellAgain, delivery_recorded, receiver_name

from .payloads import EXAMPLE
from .receivers import Receiver, connected, failing
from .waiting import due, make_due, stored

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_is_told_again_after_the_seconds_asked_for(post, caplog):
    caplog.set_level(logging.INFO, "django_plugchat")
    receiver, other = Receiver(TellAgain(7), times=1), Receiver()
    before = timezone.now()
    with connected(receiver, other):
        assert post(EXAMPLE).json() == {"status": "recorded"}
        after = timezone.now()
        row = stored()
        assert (row.dispatch_status, row.dispatch_attempts) == ("retrying", 1)
        assert before + timedelta(seconds=7) <= row.dispatch_due_at <= after + timedelta(seconds=7)
        assert row.dispatch_error == "tests.receivers.Receiver: TellAgain"
        make_due()
        assert dispatch.deliver(row.pk) is Attempt.DONE
    assert len(receiver.heard) == len(other.heard) == 2
    assert (stored().dispatch_status, stored().dispatch_attempts, stored().dispatch_error) == ("done", 2, "")
    # Which receiver, and for how long: for people, no error.
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("django_plugchat.signals", "INFO")
    assert "tests.receivers.Receiver" in record.getMessage()
    assert " 7 " in record.getMessage()


def test_after_a_minute_where_it_says_nothing(post):
    before = timezone.now()
    with connected(Receiver(TellAgain())):
        post(EXAMPLE)
    assert before + timedelta(seconds=60) <= stored().dispatch_due_at <= timezone.now() + timedelta(seconds=60)


def test_of_several_that_ask_the_first_counts(post):
    before = timezone.now()
    with connected(Receiver(TellAgain(500)), Receiver(TellAgain(5)), Receiver()):
        post(EXAMPLE)
    assert before + timedelta(seconds=5) <= stored().dispatch_due_at <= timezone.now() + timedelta(seconds=5)


def test_beside_one_that_raises_the_pause_is_that_of_a_failure():
    row = due()
    before = timezone.now()
    with connected(Receiver(TellAgain(5)), failing()):
        assert dispatch.deliver(row.pk) is Attempt.FAILED
    assert stored().dispatch_due_at >= before + timedelta(seconds=300)
    assert stored().dispatch_error.splitlines() == [
        "tests.receivers.Receiver: TellAgain",
        "tests.receivers.Receiver: ValueError",
    ]


def test_it_counts_as_an_attempt():
    row = due(dispatch_attempts=4)
    with connected(Receiver(TellAgain())):
        assert dispatch.deliver(row.pk) is Attempt.FAILED
    assert (stored().dispatch_status, stored().dispatch_due_at) == ("exhausted", None)
    assert stored().dispatch_error == "tests.receivers.Receiver: TellAgain"


@pytest.mark.parametrize("seconds", [0, 0.5, -5, 3 * 24 * 60 * 60, 10**8])
def test_any_time_may_be_asked_for(seconds):
    row = due()
    before = timezone.now()
    with connected(Receiver(TellAgain(seconds))):
        assert dispatch.deliver(row.pk) is Attempt.AGAIN
    pause = timedelta(seconds=max(seconds, 0))
    assert before + pause <= stored().dispatch_due_at <= timezone.now() + pause


@pytest.mark.parametrize("seconds", [None, "60", timedelta(seconds=60), float("nan"), float("inf"), 10**15])
def test_a_time_that_is_none_is_that_receivers_error(seconds):
    """Where it is raised, so that its traceback leads there."""

    def receiver(**kwargs):
        raise TellAgain(seconds)

    row, other = due(), Receiver()
    with connected(receiver, other):
        assert dispatch.deliver(row.pk) is Attempt.FAILED
    assert len(other.heard) == 1
    assert stored().dispatch_error.rpartition(": ")[2] in {"TypeError", "ValueError"}


class NotSavedYet(TellAgain):
    def __init__(self, order: str) -> None:
        self.order = order


def test_a_subclass_that_says_nothing_of_seconds():
    row = due()
    with connected(Receiver(NotSavedYet("554499999999"))):
        assert dispatch.deliver(row.pk) is Attempt.AGAIN
    assert stored().dispatch_error == "tests.receivers.Receiver: NotSavedYet"


# Names


def receiver(**kwargs):
    raise ValueError


class Shop:
    def heard(self, **kwargs):
        raise ValueError


@pytest.mark.parametrize(
    ("which", "name"),
    [
        (receiver, "tests.test_signals.receiver"),
        (Shop().heard, "tests.test_signals.Shop.heard"),
        (failing(), "tests.receivers.Receiver"),
        (functools.partial(receiver), "functools.partial"),
    ],
)
def test_the_name_of_a_receiver(which, name):
    delivery_recorded.connect(which, weak=False)
    try:
        assert dispatch.deliver(due().pk) is Attempt.FAILED
    finally:
        delivery_recorded.disconnect(which)
    assert stored().dispatch_error == f"{name}: ValueError"
    assert receiver_name(which) == name


def test_receivers_of_all_senders_hear_of_it(post):
    heard = []

    def receiver(event, **kwargs):
        heard.append(event.zaap_id)

    delivery_recorded.connect(receiver)
    post(EXAMPLE)
    delivery_recorded.disconnect(receiver)
    assert heard == [EXAMPLE["zaapId"]]
