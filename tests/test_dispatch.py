"""The user's code hears of an event: at least once, whatever it does. Storing, claims and attempts."""

import asyncio
import os
import subprocess
import sys
import threading
from datetime import timedelta
from uuid import uuid4

import pytest
import requests
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone

from django_plugchat import dispatch
from django_plugchat.dispatch import Attempt
from django_plugchat.models import DeliveryEvent
from django_plugchat.signals import delivery_recorded
from django_plugchat.upkeep import sweeps

from .databases import Interrupt, in_threads, kill_connection, raising
from .payloads import EXAMPLE, URL
from .receivers import Receiver, connected, failing, heard
from .rows import Status, event
from .servers import gunicorn, test_database_url
from .waiting import ahead, due, make_due, states, stored

pytestmark = pytest.mark.django_db(transaction=True)

TWO_IDS = {"type": "MessageStatusCallback", "status": "READ", "ids": ["A", "B"], "phone": "554499999999"}


# What is stored


def test_the_insert_is_the_claim_where_receivers_run_inside_the_request(post, plugchat):
    plugchat(DISPATCH_LEASE=100)
    meanwhile = []
    receiver = Receiver(does=lambda event: meanwhile.append(stored()))
    before = timezone.now()
    with connected(receiver):
        post(EXAMPLE)
    after = timezone.now()
    (row,) = meanwhile
    assert (row.dispatch_status, row.dispatch_attempts) == ("running", 1)
    assert before + timedelta(seconds=100) <= row.dispatch_due_at <= after + timedelta(seconds=100)
    row = stored()
    assert (row.dispatch_status, row.dispatch_attempts, row.dispatch_due_at) == ("done", 1, None)
    assert before < row.dispatched_at < after


def test_a_receiver_gets_the_event_that_was_stored(post):
    heard_of, in_database = [], []

    def receiver(sender, event, **kwargs):
        heard_of.append({field.attname: getattr(event, field.attname) for field in event._meta.concrete_fields})
        in_database.append(DeliveryEvent.objects.values().get(pk=event.pk))
        assert not event._state.adding

    details = {"momment": 1777494091684, "error": {"a": [1.5, None]}, "errorCode": "X", "instanceId": 7, "a": "\0"}
    with connected(receiver):
        post(EXAMPLE | details)
    assert stored().dispatch_status == "done"
    assert heard_of == in_database


def test_a_repeated_event_is_not_told_again(post):
    receiver = Receiver()
    with connected(receiver):
        post(EXAMPLE)
        assert post(EXAMPLE).json() == {"status": "duplicate"}
    assert len(receiver.heard) == 1
    assert stored().dispatch_attempts == 1


def test_several_events_are_stored_pending_and_claimed_one_by_one(post):
    """Their leases would start together and end before their turn."""
    seen = []
    with connected(Receiver(does=lambda event: seen.append((event.dispatch_status, sorted(states()))))):
        assert post(TWO_IDS).json() == {"status": "recorded"}
    assert seen == [("running", ["pending", "running"]), ("running", ["done", "running"])]
    assert states() == ["done", "done"]


def test_in_somebody_elses_transaction_receivers_wait_for_the_commit(post):
    receiver = Receiver(does=lambda event: in_transaction.append(connection.in_atomic_block))
    in_transaction: list[bool] = []
    with connected(receiver):
        with transaction.atomic():
            assert post(EXAMPLE).json() == {"status": "recorded"}
            assert (stored().dispatch_status, stored().dispatch_attempts) == ("pending", 0)
            assert not receiver.heard
        assert in_transaction == [False]
        with transaction.atomic():
            post(EXAMPLE | {"customId": "undone"})
            transaction.set_rollback(True)
    assert in_transaction == [False]
    assert stored().dispatch_status == "done"


@pytest.mark.django_db(transaction=False)
@pytest.mark.parametrize("callback", [EXAMPLE, TWO_IDS])
def test_in_a_test_case_receivers_run_when_the_callbacks_of_the_commit_do(
    django_capture_on_commit_callbacks, post, callback
):
    receiver = Receiver()
    with connected(receiver), django_capture_on_commit_callbacks(execute=True):
        post(callback)
        assert not receiver.heard
    assert set(states()) == {"done"}


def test_another_dispatcher_gets_the_key_of_a_pending_event(post, into_queue):
    before = timezone.now()
    post(EXAMPLE)
    after = timezone.now()
    row = stored()
    assert into_queue == [row.pk]
    assert (row.dispatch_status, row.dispatch_attempts) == ("pending", 0)
    assert before + timedelta(seconds=300) <= row.dispatch_due_at <= after + timedelta(seconds=300)


def test_another_dispatcher_is_called_after_the_commit(post, into_queue):
    with transaction.atomic():
        post(TWO_IDS)
        assert not into_queue
    assert sorted(into_queue) == sorted(DeliveryEvent.objects.values_list("pk", flat=True))


@pytest.mark.parametrize(
    ("dispatcher", "error"),
    [
        ("tests.dispatchers.down", "ConnectionError"),
        ("tests.dispatchers.exits", "SystemExit"),
        ("tests.dispatchers.missing", "ImportError"),
        ("nowhere.at_all", "ModuleNotFoundError"),
        ("x", "ImportError"),
    ],
)
def test_a_dispatcher_that_fails_leaves_the_event_to_the_sweep(post, plugchat, caplog, dispatcher, error):
    plugchat(DISPATCHER=dispatcher)
    assert post(EXAMPLE).json() == {"status": "recorded"}
    assert (stored().dispatch_status, stored().dispatch_attempts) == ("pending", 0)
    assert stored().dispatch_due_at is not None
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("django_plugchat.dispatch", "ERROR")
    assert f" {error};" in record.getMessage()
    assert f" {stored().pk} " in record.getMessage()
    assert "554499999999" not in caplog.text


# Attempts


def test_a_receiver_that_raises(post, plugchat, caplog):
    plugchat(DISPATCH_MAX_ATTEMPTS=3)
    faulty, sound = failing(times=2), Receiver()
    with connected(faulty, sound):
        assert post(EXAMPLE).json() == {"status": "recorded"}
        row = stored()
        assert (row.dispatch_status, row.dispatch_attempts, row.dispatched_at) == ("retrying", 1, None)
        assert row.dispatch_error == "tests.receivers.Receiver: ValueError"
        assert len(sound.heard) == 1
        # Not before its pause is over.
        assert dispatch.deliver(row.pk) is Attempt.NOTHING
        make_due()
        assert dispatch.deliver(row.pk) is Attempt.FAILED
        make_due()
        assert dispatch.deliver(row.pk) is Attempt.DONE
    row = stored()
    assert (row.dispatch_status, row.dispatch_attempts, row.dispatch_error) == ("done", 3, "")
    assert len(sound.heard) == len(faulty.heard) == 3
    # Who raised what, and where; not what it said.
    logged = [record.getMessage() for record in caplog.records if record.name == "django_plugchat.signals"]
    assert len(logged) == 2
    assert logged[0].startswith("tests.receivers.Receiver raised ValueError:")
    assert "in __call__" in logged[0]
    assert "554499999999" not in caplog.text


def test_what_several_receivers_raised(post):
    with connected(failing(), Receiver(), Receiver(KeyError())):
        post(EXAMPLE)
    assert stored().dispatch_error.splitlines() == [
        "tests.receivers.Receiver: ValueError",
        "tests.receivers.Receiver: KeyError",
    ]


@pytest.mark.parametrize(
    ("earlier", "pause"),
    [(0, 100), (1, 200), (2, 400), (9, 51200), (10, 24 * 60 * 60), (5000, 24 * 60 * 60)],
)
def test_the_pause_before_the_next_attempt(plugchat, earlier, pause):
    """A lease, then twice as long each time, a day at most."""
    plugchat(DISPATCH_MAX_ATTEMPTS=32767, DISPATCH_LEASE=100)
    row = due(dispatch_attempts=earlier)
    with connected(failing()):
        before = timezone.now()
        dispatch.deliver(row.pk)
        after = timezone.now()
    pause = timedelta(seconds=pause)
    assert before + pause <= stored().dispatch_due_at <= after + pause


def test_the_pause_after_the_longest_lease(plugchat):
    plugchat(DISPATCH_MAX_ATTEMPTS=32767, DISPATCH_LEASE=10**9)
    row = due(dispatch_attempts=32766)
    plugchat(DISPATCH_MAX_ATTEMPTS=40000)
    with connected(failing()):
        dispatch.deliver(row.pk)
    assert stored().dispatch_due_at <= ahead(days=1)


def test_after_the_last_attempt_an_event_is_given_up(post, plugchat):
    plugchat(DISPATCH_MAX_ATTEMPTS=2)
    receiver = failing()
    with connected(receiver):
        post(EXAMPLE)
        make_due()
        assert dispatch.deliver(stored().pk) is Attempt.FAILED
        row = stored()
        assert (row.dispatch_status, row.dispatch_attempts, row.dispatch_due_at) == ("exhausted", 2, None)
        assert row.dispatch_error == "tests.receivers.Receiver: ValueError"
        assert not DeliveryEvent.objects.unfinished().exists()
        assert dispatch.deliver(row.pk) is Attempt.NOTHING
    assert len(receiver.heard) == 2


def test_async_receivers(post):
    zaap_ids = []

    async def receiver(sender, event, **kwargs):
        zaap_ids.append(event.zaap_id)

    with connected(receiver):
        assert post(EXAMPLE).json() == {"status": "recorded"}
    assert zaap_ids == [EXAMPLE["zaapId"]]
    assert stored().dispatch_status == "done"


def _delete(event):
    event.delete()


def _copy(event):
    event.pk = None
    event.fingerprint = uuid4()
    event.save()


@pytest.mark.parametrize("path", ["in the request", "by a worker"])
@pytest.mark.parametrize(("does", "expected"), [(_delete, []), (_copy, ["done", "running"])])
def test_a_receiver_that_changes_the_row_under_the_event(post, plugchat, path, does, expected):
    if path == "by a worker":
        plugchat(DISPATCHER="django_plugchat.dispatch.deliver")
    with connected(Receiver(does=does)):
        assert post(EXAMPLE).json() == {"status": "recorded"}
    assert states() == expected


def _change(event):
    event.dispatch_attempts, event.dispatch_due_at, event.dispatch_status = 0, None, "none"


@pytest.mark.parametrize("raises", [None, ValueError()])
def test_a_receiver_that_changes_the_object_it_is_given(post, raises):
    with connected(Receiver(raises, does=_change)):
        post(EXAMPLE)
    row = stored()
    assert (row.dispatch_status, row.dispatch_attempts) == ("retrying" if raises else "done", 1)
    if raises:
        assert row.dispatch_due_at < ahead(seconds=301)


def test_a_receiver_with_a_transaction_of_its_own(post):
    def receiver(sender, event, **kwargs):
        with transaction.atomic():
            DeliveryEvent.objects.filter(pk=event.pk).update(custom_id="seen")
            raise ValueError

    with connected(receiver):
        assert post(EXAMPLE).json() == {"status": "recorded"}
    assert (stored().custom_id, stored().dispatch_status) == ("123", "retrying")


def test_a_receiver_that_closes_the_connection(post):
    with connected(Receiver(does=lambda event: connection.close())):
        assert post(EXAMPLE).json() == {"status": "recorded"}
    assert stored().dispatch_status == "done"


def test_a_connection_that_dies_while_a_receiver_runs(post, monkeypatch):
    """A receiver may take longer than a pooler or a firewall keeps an idle connection."""
    with connected(Receiver(does=lambda event: kill_connection(monkeypatch))):
        assert post(EXAMPLE).json() == {"status": "recorded"}
    assert stored().dispatch_status == "done"


@pytest.mark.parametrize("callback", [EXAMPLE, TWO_IDS])
def test_the_outcome_can_not_be_written(post, caplog, callback):
    """The event is stored, and that is what the provider asked."""
    fail = Interrupt("UPDATE", raising(OperationalError("554499999999")), times=99)
    receiver = Receiver(does=lambda event: connection.execute_wrappers.append(fail))
    try:
        with connected(receiver):
            assert post(callback).json() == {"status": "recorded"}
    finally:
        connection.execute_wrappers.clear()
    assert "running" in states()
    own = [record for record in caplog.records if record.name.startswith("django_plugchat")]
    assert "554499999999" not in "".join(record.getMessage() for record in own)
    make_due()
    receiver = Receiver()
    with connected(receiver):
        assert sweeps.sweep().done == len(states())
    assert set(states()) == {"done"}


@pytest.mark.parametrize("path", ["in the request", "by a worker"])
@pytest.mark.parametrize("error", [SystemExit(2), asyncio.CancelledError(), GeneratorExit()])
def test_what_is_no_exception_to_python_is_one_here(post, plugchat, path, error):
    """As gevent's time-outs are. The answer stands, and the event says what was raised."""
    if path == "by a worker":
        plugchat(DISPATCHER="django_plugchat.dispatch.deliver")
    with connected(Receiver(error)):
        assert post(EXAMPLE).json() == {"status": "recorded"}
    assert (stored().dispatch_status, stored().dispatch_attempts) == ("retrying", 1)
    assert stored().dispatch_error == f"a receiver: {type(error).__name__}"


def test_a_receiver_that_is_interrupted_from_the_keyboard(post):
    """Whoever presses Ctrl-C means the server. The event is stored, and taken after its lease."""
    with connected(Receiver(KeyboardInterrupt())), pytest.raises(KeyboardInterrupt):
        post(EXAMPLE)
    assert stored().dispatch_status == "running"


@pytest.mark.django_db(transaction=False)
def test_a_receiver_that_breaks_the_transaction_of_a_test(django_capture_on_commit_callbacks, post):
    def receiver(sender, event, **kwargs):
        event.pk = None
        event.save(force_insert=True)

    with connected(receiver), django_capture_on_commit_callbacks(execute=True):
        post(EXAMPLE)
    assert (stored().dispatch_status, stored().dispatch_error.rpartition(": ")[2]) == ("retrying", "IntegrityError")


def test_slow_receivers_do_not_hold_the_row(post):
    """While a receiver runs, callbacks of the same event are counted."""
    answers = []

    def post_again():
        answers.append(post(EXAMPLE).json())
        connections.close_all()

    def wait_for_another_callback(event):
        thread = threading.Thread(target=post_again)
        thread.start()
        thread.join()

    with connected(Receiver(does=wait_for_another_callback)):
        assert post(EXAMPLE).json() == {"status": "recorded"}
    assert answers == [{"status": "duplicate"}]
    assert (stored().times_received, stored().dispatch_status) == (2, "done")


# Claims


def test_an_attempt_holds_the_event_for_a_lease(plugchat):
    plugchat(DISPATCH_LEASE=100)
    row = due(dispatch_status=Status.RETRYING, dispatch_attempts=1)
    meanwhile = []
    with connected(Receiver(does=lambda event: meanwhile.append(stored()))):
        before = timezone.now()
        assert dispatch.deliver(row.pk) is Attempt.DONE
        after = timezone.now()
    (row,) = meanwhile
    assert (row.dispatch_status, row.dispatch_attempts) == ("running", 2)
    assert before + timedelta(seconds=100) <= row.dispatch_due_at <= after + timedelta(seconds=100)


@pytest.mark.parametrize(
    ("status", "due_at"),
    [
        *((status, None) for status in Status.values),
        (Status.RUNNING, timedelta(minutes=5)),
        (Status.RETRYING, timedelta(minutes=5)),
    ],
)
def test_what_is_not_taken(status, due_at):
    row = event(dispatch_status=status, dispatch_attempts=1, dispatch_due_at=due_at and timezone.now() + due_at)
    before = DeliveryEvent.objects.values().get()
    receiver = Receiver()
    with connected(receiver):
        assert dispatch.deliver(row.pk) is Attempt.NOTHING
    assert not receiver.heard
    assert DeliveryEvent.objects.values().get() == before


@pytest.mark.parametrize(
    ("status", "due_at"),
    [
        # Not yet due: no sweep takes it, but the worker it was handed to.
        (Status.PENDING, timedelta(minutes=5)),
        (Status.PENDING, timedelta(seconds=-1)),
        (Status.RUNNING, timedelta(seconds=-1)),
        (Status.RETRYING, timedelta(seconds=-1)),
    ],
)
def test_what_is_taken(status, due_at):
    row = event(dispatch_status=status, dispatch_attempts=1, dispatch_due_at=timezone.now() + due_at)
    other = event(dispatch_status=status, dispatch_attempts=1, dispatch_due_at=timezone.now() + due_at)
    receiver = Receiver()
    with connected(receiver):
        assert dispatch.deliver(row.pk) is Attempt.DONE
    assert receiver.heard == [row]
    row.refresh_from_db()
    assert (row.dispatch_status, row.dispatch_attempts) == ("done", 2)
    other.refresh_from_db()
    assert (other.dispatch_status, other.dispatch_attempts) == (status, 1)


def test_an_event_that_is_gone():
    with connected(Receiver()):
        assert dispatch.deliver(1) is Attempt.NOTHING


def test_many_workers_at_once_take_it_once():
    row = due()
    receiver = Receiver()
    with connected(receiver):
        outcomes = in_threads([lambda: dispatch.deliver(row.pk)] * 16, 16)
    assert sorted(outcomes, key=str) == [Attempt.DONE] + [Attempt.NOTHING] * 15
    assert len(receiver.heard) == 1


def test_a_worker_without_receivers_logs_an_error_and_counts_no_attempt(caplog):
    row = due()
    assert dispatch.deliver(row.pk) is Attempt.NOTHING
    assert (stored().dispatch_status, stored().dispatch_attempts) == ("pending", 0)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("django_plugchat.dispatch", "ERROR")
    assert f"event {row.pk} " in record.getMessage()
    with connected(Receiver()):
        assert dispatch.deliver(row.pk) is Attempt.DONE


def test_a_last_attempt_that_died_is_not_made_again():
    row = due(dispatch_status=Status.RUNNING, dispatch_attempts=5)
    receiver = Receiver()
    with connected(receiver):
        assert dispatch.deliver(row.pk) is Attempt.NOTHING
    assert not receiver.heard


# Attempts that take longer than their lease


def test_a_slow_attempt_that_another_worker_took_over():
    """What the second worker finds out counts."""
    row = due()

    def take_over(event):
        make_due()
        DeliveryEvent.objects.update(dispatch_attempts=2, dispatch_due_at=ahead(minutes=5))

    with connected(Receiver(does=take_over)):
        assert dispatch.deliver(row.pk) is Attempt.DONE
    assert (stored().dispatch_status, stored().dispatch_attempts) == ("running", 2)


def test_a_slow_attempt_that_a_sweep_took_for_dead(into_queue):
    """It is told again: whether the first worker still lives, nobody knows."""
    row = due()

    def sweep(event):
        make_due()
        assert sweeps.sweep().taken == 1

    with connected(Receiver(does=sweep)):
        assert dispatch.deliver(row.pk) is Attempt.DONE
    assert (stored().dispatch_status, stored().dispatch_attempts) == ("pending", 1)
    with connected(Receiver()):
        assert dispatch.deliver(into_queue.pop()) is Attempt.DONE
    assert (stored().dispatch_status, stored().dispatch_attempts) == ("done", 2)


def test_a_slow_last_attempt_that_was_given_up(post, plugchat):
    plugchat(DISPATCH_MAX_ATTEMPTS=1)

    def sweep(event):
        make_due()
        assert sweeps.sweep().exhausted == 1

    with connected(Receiver(does=sweep)):
        post(EXAMPLE)
    assert (stored().dispatch_status, stored().dispatch_due_at) == ("exhausted", None)
    assert stored().dispatch_error == "The last attempt did not end."


@pytest.mark.parametrize(("slow", "other"), [(failing(), Receiver()), (Receiver(), failing())])
def test_a_slow_attempt_of_an_event_that_was_started_over(into_queue, slow, other):
    """Both are its first attempt: what the second one finds out counts."""
    row = due()
    outcomes = []

    def start_over(sender, event, **kwargs):
        # While it runs, in another process.
        delivery_recorded.disconnect(start_over, sender=DeliveryEvent)
        make_due()
        sweeps.start_over(DeliveryEvent.objects.all())
        with connected(other):
            outcomes.append(dispatch.deliver(row.pk))
        outcomes.append(DeliveryEvent.objects.values().get())
        slow(sender, event)

    with connected(start_over):
        dispatch.deliver(row.pk)
    assert outcomes[0] is (Attempt.FAILED if other.raises else Attempt.DONE)
    assert DeliveryEvent.objects.values().get() == outcomes[1]


def test_a_slow_attempt_of_an_event_that_waits_to_be_told_from_the_start(into_queue):
    row = due()

    def start_over(event):
        make_due()
        sweeps.start_over(DeliveryEvent.objects.all())

    with connected(Receiver(does=start_over)):
        dispatch.deliver(row.pk)
    assert (stored().dispatch_status, stored().dispatch_attempts) == ("pending", 0)


# Processes that are killed


def environ(tmp_path, receiver):
    return {
        "DJANGO_SETTINGS_MODULE": "tests.settings_queue",
        "DATABASE_URL": test_database_url(),
        "QUEUE": "inline",
        "HEARD": str(tmp_path / "heard"),
        "RECEIVER": receiver,
    }


FATAL = EXAMPLE | {"fatal": True}


def assert_told_after_its_lease(attempts):
    assert (stored().dispatch_status, stored().dispatch_attempts) == ("running", attempts - 1)
    receiver = Receiver()
    with connected(receiver):
        assert sweeps.sweep().taken == 0
        make_due()
        assert sweeps.sweep().done == 1
    assert len(receiver.heard) == 1
    assert (stored().dispatch_status, stored().dispatch_attempts) == ("done", attempts)


def test_a_web_process_that_is_killed_between_its_two_statements(tmp_path):
    with gunicorn(tmp_path / "web", **environ(tmp_path, "kills its process the first time")) as (base, _master):
        with pytest.raises(requests.ConnectionError):
            requests.post(base + URL, json=FATAL)
        # The next process takes the next callback.
        assert requests.post(base + URL, json=EXAMPLE | {"zaapId": "next"}).json() == {"status": "recorded"}
    assert heard(tmp_path / "heard") == ["next"]
    DeliveryEvent.objects.for_zaap_id("next").delete()
    assert_told_after_its_lease(attempts=2)


def test_a_worker_that_is_killed(tmp_path):
    due(payload=FATAL)
    worker = subprocess.run(
        [sys.executable, "-m", "django", "plugchat_redispatch", "--inline"],
        env=os.environ | environ(tmp_path, "kills its process the first time"),
        timeout=60,
        check=False,
    )
    assert worker.returncode < 0
    assert_told_after_its_lease(attempts=2)


def test_a_receiver_that_breaks_the_transaction_around_it():
    """In a TestCase of a project: what became of the attempt is written down all the same."""

    def fail(event):
        with connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column")

    with transaction.atomic():
        row = due()
        with connected(Receiver(does=fail)):
            assert dispatch.deliver(row.pk) is Attempt.FAILED
        row.refresh_from_db()
    assert row.dispatch_status == "retrying"
