"""The user's code hears of an event: at least once, whatever it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone

from django_plugchat import dispatch
from django_plugchat.models import DeliveryEvent
from django_plugchat.signals import delivery_recorded

from .conftest import EXAMPLE
from .servers import test_database_url
from .test_storing import Interrupt, in_threads, raising

pytestmark = pytest.mark.django_db(transaction=True)

CELERY_LIKE = "tests.dispatchers.remember"

SUICIDAL_WORKER = """
import django, os, signal, sys
django.setup()
from django_plugchat import dispatch, signals
signals.delivery_recorded.connect(lambda **kwargs: os.kill(os.getpid(), signal.SIGKILL), weak=False)
dispatch.deliver(int(sys.argv[1]))
"""


@contextmanager
def connected(*receivers):
    for receiver in receivers:
        delivery_recorded.connect(receiver, sender=DeliveryEvent)
    try:
        yield
    finally:
        for receiver in receivers:
            delivery_recorded.disconnect(receiver, sender=DeliveryEvent)


class Receiver:
    """Remembers what it heard; raises as often as it is told to."""

    def __init__(self, failures: int = 0):
        self.heard: list[DeliveryEvent] = []
        self.failures = failures

    def __call__(self, sender, event, **kwargs):
        self.heard.append(event)
        if self.failures:
            self.failures -= 1
            raise ValueError(event.phone)


def stored() -> DeliveryEvent:
    return DeliveryEvent.objects.get()


def make_due(**changes) -> None:
    DeliveryEvent.objects.update(dispatch_due_at=timezone.now() - timedelta(seconds=1), **changes)


def test_without_a_receiver(post, django_assert_num_queries):
    with django_assert_num_queries(1):
        post(EXAMPLE)
    event = stored()
    assert (event.dispatch_status, event.dispatch_due_at, event.dispatch_attempts) == ("none", None, 0)
    assert not DeliveryEvent.objects.due().exists()


def test_a_receiver_hears_of_a_new_event_once(post):
    receiver = Receiver()
    with connected(receiver):
        assert post(EXAMPLE).json() == {"status": "recorded"}
        assert post(EXAMPLE).json() == {"status": "duplicate"}
    (event,) = receiver.heard
    assert event.payload == EXAMPLE
    event = stored()
    assert (event.dispatch_status, event.dispatch_attempts, event.dispatch_due_at) == ("done", 1, None)
    assert event.dispatched_at is not None


def test_receivers_hear_of_it_after_the_commit(post):
    open_transactions = []

    def receiver(sender, event, **kwargs):
        open_transactions.append(connection.in_atomic_block)

    with connected(receiver):
        with transaction.atomic():
            assert post(EXAMPLE).json() == {"status": "recorded"}
            assert not open_transactions
        assert open_transactions == [False]
        with transaction.atomic():
            post(EXAMPLE | {"customId": "undone"})
            transaction.set_rollback(True)
        assert open_transactions == [False]


def test_a_receiver_that_raises(post, plugchat, caplog):
    plugchat(DISPATCH_MAX_ATTEMPTS=3, DISPATCH_LEASE=100)
    faulty, sound = Receiver(failures=2), Receiver()
    with connected(faulty, sound):
        assert post(EXAMPLE).json() == {"status": "recorded"}
        event = stored()
        assert (event.dispatch_status, event.dispatch_attempts) == ("failed", 1)
        assert event.dispatch_error == "tests.test_dispatch.Receiver: ValueError"
        assert len(sound.heard) == 1
        # Not before its pause is over.
        assert dispatch.deliver(event.pk) is None
        make_due()
        assert dispatch.deliver(event.pk) is False
        make_due()
        assert dispatch.deliver(event.pk) is True
    event = stored()
    assert (event.dispatch_status, event.dispatch_attempts, event.dispatch_error) == ("done", 3, "")
    assert len(sound.heard) == len(faulty.heard) == 3
    # Who raised what, and where; not what it said.
    logged = [record.getMessage() for record in caplog.records if record.name == "django_plugchat.signals"]
    assert len(logged) == 2
    assert logged[0].startswith("tests.test_dispatch.Receiver raised ValueError:")
    assert "in __call__" in logged[0]
    assert "554499999999" not in caplog.text


@pytest.mark.parametrize(
    ("attempts", "pause"),
    [(0, 100), (1, 200), (2, 400), (9, 51200), (10, 24 * 60 * 60), (5000, 24 * 60 * 60)],
)
def test_the_pause_before_the_next_attempt(post, plugchat, attempts, pause):
    """A lease, then twice as long each time, a day at most."""
    plugchat(DISPATCH_MAX_ATTEMPTS=32767, DISPATCH_LEASE=100, DISPATCHER=CELERY_LIKE)
    post(EXAMPLE)
    make_due(dispatch_attempts=attempts)
    with connected(Receiver(failures=1)):
        before = timezone.now()
        assert dispatch.deliver(stored().pk) is False
        after = timezone.now()
    pause = timedelta(seconds=pause)
    assert before + pause <= stored().dispatch_due_at <= after + pause


def test_the_pause_after_the_longest_lease(post, plugchat):
    plugchat(DISPATCH_MAX_ATTEMPTS=32767, DISPATCH_LEASE=10**9, DISPATCHER=CELERY_LIKE)
    post(EXAMPLE)
    make_due(dispatch_attempts=32766 - 1)
    with connected(Receiver(failures=1)):
        assert dispatch.deliver(stored().pk) is False
    assert stored().dispatch_due_at <= timezone.now() + timedelta(days=1)


def test_what_several_receivers_raised(post):
    with connected(Receiver(failures=1), Receiver(), Receiver(failures=1)):
        post(EXAMPLE)
    assert stored().dispatch_error.splitlines() == ["tests.test_dispatch.Receiver: ValueError"] * 2


def test_an_attempt_holds_the_event_for_a_lease(post, plugchat):
    plugchat(DISPATCH_LEASE=100, DISPATCHER=CELERY_LIKE)
    post(EXAMPLE)
    make_due(dispatch_status="failed", dispatch_attempts=1)
    meanwhile = []
    with connected(lambda **kwargs: meanwhile.append(stored())):
        before = timezone.now()
        dispatch.deliver(stored().pk)
        after = timezone.now()
    (event,) = meanwhile
    assert event.dispatch_status == "pending"
    assert before + timedelta(seconds=100) <= event.dispatch_due_at <= after + timedelta(seconds=100)


@pytest.mark.parametrize("status", ["none", "done", "pending", "failed"])
def test_what_is_never_taken(post, plugchat, status):
    """No status but two, and nothing without a due time, whatever somebody wrote into the row."""
    plugchat(DISPATCHER=CELERY_LIKE)
    post(EXAMPLE)
    make_due(dispatch_status=status)
    if status in {"pending", "failed"}:
        DeliveryEvent.objects.update(dispatch_due_at=None)
    receiver = Receiver()
    with connected(receiver):
        assert not DeliveryEvent.objects.due().exists()
        assert dispatch.deliver(stored().pk) is None
    assert not receiver.heard


def test_other_events_are_left_alone(post, plugchat):
    plugchat(DISPATCHER=CELERY_LIKE)
    post(EXAMPLE | {"customId": "being tried"})
    DeliveryEvent.objects.update(dispatch_attempts=1)
    post(EXAMPLE)
    with connected(Receiver()):
        assert dispatch.deliver(DeliveryEvent.objects.for_custom_id("123").get().pk) is True
    assert DeliveryEvent.objects.for_custom_id("being tried").get().dispatch_status == "pending"


def test_an_exhausted_event_stops(post, plugchat):
    plugchat(DISPATCH_MAX_ATTEMPTS=2)
    receiver = Receiver(failures=9)
    with connected(receiver):
        post(EXAMPLE)
        make_due()
        assert dispatch.deliver(stored().pk) is False
        event = stored()
        assert (event.dispatch_status, event.dispatch_attempts, event.dispatch_due_at) == ("failed", 2, None)
        assert not DeliveryEvent.objects.due().exists()
        assert dispatch.deliver(event.pk) is None
    assert len(receiver.heard) == 2


def test_a_receiver_that_exits(post, plugchat):
    plugchat(DISPATCHER="django_plugchat.dispatch.deliver")

    def receiver(**kwargs):
        sys.exit(2)

    with connected(receiver):
        assert post(EXAMPLE).json() == {"status": "recorded"}
    assert (stored().dispatch_status, stored().dispatch_attempts) == ("pending", 1)


@pytest.mark.django_db(transaction=False)
def test_a_receiver_that_breaks_the_transaction_of_a_test(django_capture_on_commit_callbacks, post):
    def receiver(sender, event, **kwargs):
        event.pk = None
        event.save(force_insert=True)

    with connected(receiver), django_capture_on_commit_callbacks(execute=True):
        post(EXAMPLE)
    assert (stored().dispatch_status, stored().dispatch_error.rpartition(": ")[2]) == ("failed", "IntegrityError")


def test_a_last_attempt_that_died_is_exhausted(post, plugchat):
    with connected(Receiver(failures=1)):
        post(EXAMPLE)
        make_due(dispatch_status="pending", dispatch_attempts=5)
        assert dispatch.deliver(stored().pk) is None
    event = stored()
    assert (event.dispatch_status, event.dispatch_due_at) == ("failed", None)
    assert event.dispatch_error == "The last attempt did not end."


def test_a_receiver_that_deletes_the_event(post):
    def receiver(sender, event, **kwargs):
        event.delete()

    with connected(receiver):
        assert post(EXAMPLE).json() == {"status": "recorded"}
    assert not DeliveryEvent.objects.exists()
    with connected(receiver):
        assert dispatch.deliver(1) is None


def test_a_receiver_with_a_transaction_of_its_own(post):
    def receiver(sender, event, **kwargs):
        with transaction.atomic():
            DeliveryEvent.objects.filter(pk=event.pk).update(custom_id="seen")
            raise ValueError

    with connected(receiver):
        assert post(EXAMPLE).json() == {"status": "recorded"}
    assert (stored().custom_id, stored().dispatch_status) == ("123", "failed")


def test_async_receivers(post):
    heard = []

    async def receiver(sender, event, **kwargs):
        heard.append(event.zaap_id)

    with connected(receiver):
        assert post(EXAMPLE).json() == {"status": "recorded"}
    assert heard == [EXAMPLE["zaapId"]]
    assert stored().dispatch_status == "done"


def test_a_slow_attempt_that_another_worker_took_over(post):
    """The lease ends while a receiver runs: what the second worker finds out counts."""

    def receiver(sender, event, **kwargs):
        DeliveryEvent.objects.update(dispatch_attempts=2, dispatch_error="the other one's")
        raise ValueError

    with connected(receiver):
        post(EXAMPLE)
    assert (stored().dispatch_status, stored().dispatch_error) == ("pending", "the other one's")


@pytest.mark.parametrize(("failures_of_the_slow", "failures_of_the_other"), [(1, 0), (0, 1)])
@pytest.mark.parametrize("attempts", [1, 2])
def test_a_slow_attempt_of_an_event_that_was_dispatched_again(
    post, plugchat, attempts, failures_of_the_slow, failures_of_the_other
):
    """Both are its first attempt: what the second one finds out counts."""
    plugchat(DISPATCHER=CELERY_LIKE, DISPATCH_MAX_ATTEMPTS=attempts)
    post(EXAMPLE)
    pk = stored().pk
    outcomes = []
    faulty = Receiver(failures=failures_of_the_slow)
    other = Receiver(failures=failures_of_the_other)

    def slow(**kwargs):
        # While it runs, in another process.
        delivery_recorded.disconnect(slow, sender=DeliveryEvent)
        make_due()
        dispatch.redispatch(DeliveryEvent.objects.all())
        with connected(other):
            dispatch.deliver(pk)
        outcomes.append(DeliveryEvent.objects.values().get())
        faulty(**kwargs)

    with connected(slow):
        dispatch.deliver(pk)
    assert outcomes[0]["dispatch_status"] == ("failed" if failures_of_the_other else "done")
    assert DeliveryEvent.objects.values().get() == outcomes[0]


def test_a_slow_attempt_while_another_worker_has_the_event(post, plugchat):
    plugchat(DISPATCHER=CELERY_LIKE)
    post(EXAMPLE)
    make_due()
    taken = []

    def slow(**kwargs):
        make_due()
        dispatch.redispatch(DeliveryEvent.objects.all())
        # The other worker's claim; it never ends.
        DeliveryEvent.objects.update(dispatch_attempts=1, dispatch_due_at=timezone.now() + timedelta(seconds=300))
        taken.append(DeliveryEvent.objects.values().get())

    with connected(slow):
        dispatch.deliver(stored().pk)
    assert DeliveryEvent.objects.values().get() == taken[0]


@pytest.mark.parametrize(("failures", "status"), [(0, "done"), (1, "failed")])
def test_a_slow_last_attempt_that_was_given_up(post, plugchat, failures, status):
    """A sweep took it for dead. Its outcome is the truth all the same."""
    plugchat(DISPATCH_MAX_ATTEMPTS=1)
    post(EXAMPLE | {"customId": "that one did die"})
    DeliveryEvent.objects.update(dispatch_status="pending", dispatch_attempts=1)
    receiver = Receiver(failures=failures)

    def slow(**kwargs):
        make_due()
        assert dispatch.sweep().exhausted == 2

    with connected(slow, receiver):
        post(EXAMPLE)
    died = DeliveryEvent.objects.for_custom_id("that one did die").get()
    assert (died.dispatch_status, died.dispatch_error) == ("failed", "The last attempt did not end.")
    event = DeliveryEvent.objects.for_custom_id("123").get()
    assert (event.dispatch_status, event.dispatch_due_at) == (status, None)
    assert event.dispatch_error == "tests.test_dispatch.Receiver: ValueError" * failures


def test_many_workers_at_once_take_it_once(post, plugchat):
    plugchat(DISPATCHER=CELERY_LIKE)
    receiver = Receiver()
    with connected(receiver):
        post(EXAMPLE)
        pk = stored().pk
        outcomes = in_threads([lambda: dispatch.deliver(pk)] * 16, 16)
    assert sorted(outcomes, key=str) == [None] * 15 + [True]
    assert len(receiver.heard) == 1


def test_a_worker_without_receivers(post, plugchat, caplog):
    plugchat(DISPATCHER=CELERY_LIKE)
    post(EXAMPLE)
    event = stored()
    assert dispatch.deliver(event.pk) is None
    assert (stored().dispatch_status, stored().dispatch_attempts) == ("pending", 0)
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (
        "ERROR",
        f"No receiver of delivery_recorded is connected in this process: event {event.pk} is left for one that has. "
        "Import your receivers in an AppConfig.ready().",
    )
    receiver = Receiver()
    with connected(receiver):
        assert dispatch.deliver(event.pk) is True


def test_another_dispatcher(post, plugchat):
    from . import dispatchers

    plugchat(DISPATCHER=CELERY_LIKE)
    before = timezone.now()
    post(EXAMPLE)
    event = stored()
    assert dispatchers.remembered == [event.pk]
    assert (event.dispatch_status, event.dispatch_attempts) == ("pending", 0)
    assert before + timedelta(seconds=299) < event.dispatch_due_at < timezone.now() + timedelta(seconds=300)


@pytest.mark.parametrize(
    ("dispatcher", "error"),
    [
        ("tests.dispatchers.fail", "ConnectionError"),
        ("tests.dispatchers.missing", "ImportError"),
        ("nowhere.at_all", "ModuleNotFoundError"),
        ("x", "ImportError"),
    ],
)
def test_a_dispatcher_that_fails(post, plugchat, caplog, dispatcher, error):
    plugchat(DISPATCHER=dispatcher)
    assert post(EXAMPLE).json() == {"status": "recorded"}
    event = stored()
    assert (event.dispatch_status, event.dispatch_attempts) == ("pending", 0)
    assert event.dispatch_due_at is not None
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("django_plugchat.dispatch", "ERROR")
    assert (
        record.getMessage() == f"The dispatcher failed with {error}; plugchat_redispatch takes event {event.pk} later."
    )
    assert "554499999999" not in caplog.text


def test_the_database_goes_away_after_the_event_was_stored(post, caplog):
    with connected(Receiver()), connection.execute_wrapper(Interrupt("UPDATE", raising(OperationalError()))):
        assert post(EXAMPLE).json() == {"status": "recorded"}
    assert (stored().dispatch_status, stored().dispatch_attempts) == ("pending", 0)


def test_a_receiver_that_kills_its_worker(post, plugchat):
    plugchat(DISPATCHER=CELERY_LIKE)
    post(EXAMPLE)
    pk = stored().pk
    worker = subprocess.run(
        [sys.executable, "-c", SUICIDAL_WORKER, str(pk)],
        env=os.environ | {"DATABASE_URL": test_database_url()},
        timeout=60,
        check=False,
    )
    assert worker.returncode == -signal.SIGKILL
    event = stored()
    assert (event.dispatch_status, event.dispatch_attempts) == ("pending", 1)
    receiver = Receiver()
    with connected(receiver):
        assert dispatch.deliver(pk) is None  # its lease is not over
        make_due()
        assert dispatch.deliver(pk) is True
    assert stored().dispatch_attempts == 2


def test_slow_receivers_do_not_hold_the_row(post):
    """While a receiver runs, callbacks of the same event are counted."""
    answers = []

    def receiver(sender, event, **kwargs):
        def post_again():
            answers.append(post(EXAMPLE).json())
            connections.close_all()

        thread = threading.Thread(target=post_again)
        thread.start()
        thread.join()

    with connected(receiver):
        assert post(EXAMPLE).json() == {"status": "recorded"}
    assert answers == [{"status": "duplicate"}]
    assert (stored().times_received, stored().dispatch_status) == (2, "done")
