from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import StringIO
from threading import Barrier

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from django_plugchat import dispatch
from django_plugchat.models import DeliveryEvent
from django_plugchat.signals import delivery_recorded
from tests.conftest import EXAMPLE
from tests.dispatchers import down, into_queue, queue, up_every_tenth_time
from tests.rows import Status, event, events

pytestmark = pytest.mark.django_db


def hangs_until_another_sweep_has_it(pk):
    into_queue(pk)
    DeliveryEvent.objects.update(dispatch_sweep_after=ago(days=-1))
    raise ConnectionError


def down_for_the_first(pk):
    into_queue(pk)
    if len(queue) == 1:
        raise ConnectionError


def takes_the_second_too(pk):
    into_queue(pk)
    second = DeliveryEvent.objects.order_by("pk")[1]
    DeliveryEvent.objects.filter(pk=second.pk).update(dispatch_sweep_after=timezone.now() + timedelta(minutes=1))


def overlapped_by_another_sweep(pk):
    into_queue(pk)
    dispatch.sweep()


@pytest.fixture(autouse=True)
def _empty_queue():
    queue.clear()


@pytest.fixture
def use(plugchat):
    def use(dispatcher, **changes):
        plugchat(DISPATCHER=f"{dispatcher.__module__}.{dispatcher.__name__}", **changes)

    return use


@pytest.fixture
def receive():
    """Connect a receiver for one test."""
    connected = []

    def connect(receiver):
        delivery_recorded.connect(receiver, weak=False)
        connected.append(receiver)

    yield connect
    for receiver in connected:
        delivery_recorded.disconnect(receiver)


@pytest.fixture
def heard(receive):
    pks = []
    receive(lambda event, **kwargs: pks.append(event.pk))
    return pks


@pytest.fixture
def raising(receive):
    pks = []

    def receiver(event, **kwargs):
        pks.append(event.pk)
        raise ValueError(event.phone)

    receive(receiver)
    return pks


def ago(**duration):
    return timezone.now() - timedelta(**duration)


def due(**fields):
    return event(**{"dispatch_status": Status.PENDING, "dispatch_due_at": ago(seconds=1)} | fields)


def redispatch(*args, **options):
    output = StringIO()
    call_command("plugchat_redispatch", *args, stdout=output, **options)
    return output.getvalue().splitlines()


def test_hands_over_what_is_due_and_nothing_else(use):
    use(into_queue)
    failed = due(dispatch_status=Status.FAILED, dispatch_attempts=1)
    never_tried = due(dispatch_due_at=ago(seconds=2))
    due(dispatch_due_at=timezone.now() + timedelta(minutes=1))
    due(dispatch_status=Status.FAILED, dispatch_due_at=None)
    due(dispatch_status=Status.DONE, dispatch_due_at=None)
    event()
    assert redispatch() == ["2 events handed over to the dispatcher."]
    assert queue == [never_tried.pk, failed.pk]
    failed.refresh_from_db()
    assert (failed.dispatch_status, failed.dispatch_attempts) == (Status.FAILED, 1)


def test_nothing_due(use):
    use(into_queue)
    event()
    assert redispatch() == ["Nothing to hand over."]
    assert queue == []


def test_the_default_dispatcher_runs_receivers_at_once(heard):
    waiting = due()
    assert redispatch() == ["1 event handed over to the dispatcher.", "1 event done."]
    assert heard == [waiting.pk]
    waiting.refresh_from_db()
    assert waiting.dispatch_status == Status.DONE


def test_a_receiver_that_raises_makes_the_run_fail(raising, capsys):
    first, second = due(), due()
    with pytest.raises(CommandError, match=r"^2 attempts failed") as error:
        redispatch()
    assert EXAMPLE["phone"] not in str(error.value)
    assert sorted(raising) == [first.pk, second.pk]
    first.refresh_from_db()
    assert first.dispatch_status == Status.FAILED
    assert first.dispatch_due_at > timezone.now()
    assert "ValueError" in first.dispatch_error
    assert redispatch() == ["Nothing to hand over."]


def test_an_earlier_failure_is_not_this_runs(use):
    use(into_queue)
    due(dispatch_status=Status.FAILED, dispatch_attempts=2)
    assert redispatch() == ["1 event handed over to the dispatcher."]


def test_a_dispatcher_that_fails_leaves_the_event_due_and_the_others_unharmed(use, caplog):
    use(down_for_the_first)
    first, second = due(dispatch_due_at=ago(seconds=2)), due()
    output = StringIO()
    with pytest.raises(CommandError, match="for 1 event; it is still due"):
        call_command("plugchat_redispatch", stdout=output)
    assert output.getvalue().splitlines() == [
        "1 event handed over to the dispatcher.",
        "1 event left for a later run.",
    ]
    assert queue == [first.pk, second.pk]
    assert redispatch() == ["1 event handed over to the dispatcher."]
    assert queue == [first.pk, second.pk, first.pk]


def test_a_dispatcher_that_is_down_is_not_asked_for_every_event(use, caplog):
    use(down)
    events(25, dispatch_status=Status.PENDING, dispatch_due_at=ago(seconds=1))
    with pytest.raises(CommandError, match="for 10 events; they are still due"):
        redispatch()
    assert len(queue) == 10
    assert dispatch.sweep().left == 25
    assert EXAMPLE["phone"] not in caplog.text


def test_a_dispatcher_that_fails_now_and_then_is_asked_for_every_event(use):
    use(up_every_tenth_time)
    events(30, dispatch_status=Status.PENDING, dispatch_due_at=ago(seconds=1))
    swept = dispatch.sweep()
    assert (swept.taken, swept.refused, swept.left) == (3, 27, 27)


def test_what_is_refused_is_left_to_a_later_sweep(use, monkeypatch):
    """Also where more of the same moment follow than are read at once."""
    use(down)
    monkeypatch.setattr(dispatch, "_BATCH", 2)
    moment = ago(minutes=1)
    pks = [due(dispatch_due_at=moment).pk for _ in range(5)]
    assert dispatch.sweep().refused == 5
    assert queue == pks
    assert not DeliveryEvent.objects.exclude(dispatch_sweep_after=None).exists()


def test_inline_calls_receivers_whatever_the_dispatcher_is(use, heard):
    use(into_queue)
    waiting = due()
    assert redispatch("--inline") == ["1 event tried.", "1 event done."]
    assert heard == [waiting.pk]
    assert queue == []


def test_inline_does_not_wait_for_a_queue(use, heard):
    use(into_queue)
    waiting = due()
    redispatch()
    assert queue == [waiting.pk]
    assert redispatch() == ["Nothing to hand over."]
    assert redispatch("--inline") == ["1 event tried.", "1 event done."]
    dispatch.deliver(queue.pop())
    assert heard == [waiting.pk]


def test_inline_fails_with_its_attempts(raising):
    due()
    output = StringIO()
    with pytest.raises(CommandError, match=r"^1 attempt failed"):
        call_command("plugchat_redispatch", "--inline", stdout=output)
    assert output.getvalue().splitlines() == ["1 event tried.", "1 event failed."]
    events(2, dispatch_status=Status.PENDING, dispatch_due_at=ago(seconds=1))
    with pytest.raises(CommandError, match=r"^2 attempts failed"):
        redispatch("--inline")


def test_inline_without_a_receiver_says_so_and_tries_nothing():
    waiting = due()
    with pytest.raises(CommandError, match="No receiver"):
        redispatch("--inline")
    waiting.refresh_from_db()
    assert (waiting.dispatch_status, waiting.dispatch_attempts) == (Status.PENDING, 0)


def test_inline_leaves_what_a_worker_took_meanwhile(receive):
    first, second = due(dispatch_due_at=ago(seconds=2)), due()
    heard = []

    def receiver(event, **kwargs):
        heard.append(event.pk)
        dispatch.deliver(second.pk)

    receive(receiver)
    assert redispatch("--inline") == ["1 event tried.", "1 event done."]
    assert heard == [first.pk, second.pk]


@pytest.mark.parametrize(
    ("received", "pause"),
    [
        (timedelta(seconds=10), timedelta(minutes=5)),
        (timedelta(minutes=20), timedelta(minutes=20)),
        (timedelta(hours=10), timedelta(hours=1)),
    ],
)
def test_a_queue_gets_as_long_again_as_the_event_has_waited(use, received, pause):
    use(into_queue)
    waiting = due(received_at=timezone.now() - received)
    before = timezone.now()
    redispatch()
    after = timezone.now()
    due_at = waiting.dispatch_due_at
    waiting.refresh_from_db()
    assert before + pause <= waiting.dispatch_sweep_after <= after + pause + timedelta(minutes=1)
    assert waiting.dispatch_due_at == due_at
    assert redispatch() == ["Nothing to hand over."]
    DeliveryEvent.objects.update(dispatch_sweep_after=ago(seconds=1))
    assert redispatch() == ["1 event handed over to the dispatcher."]
    assert queue == [waiting.pk, waiting.pk]


def test_a_failed_attempt_is_swept_when_it_is_due_whatever_the_queue_was_given(use, raising):
    use(into_queue)
    waiting = due(received_at=ago(hours=10))
    redispatch()
    dispatch.deliver(queue.pop())
    DeliveryEvent.objects.update(dispatch_due_at=ago(seconds=1))
    assert redispatch() == ["1 event handed over to the dispatcher."]
    assert queue == [waiting.pk]


def test_exhausted_events_are_given_up_and_not_handed_over(use, monkeypatch):
    use(into_queue, DISPATCH_MAX_ATTEMPTS=3)
    monkeypatch.setattr(dispatch, "_BATCH", 2)
    exhausted = [due(dispatch_attempts=3), due(dispatch_attempts=4), due(dispatch_attempts=3)]
    last_chance = due(dispatch_attempts=2)
    assert redispatch() == [
        "1 event handed over to the dispatcher.",
        "3 events had no attempt left: exhausted.",
    ]
    assert queue == [last_chance.pk]
    exhausted[0].refresh_from_db()
    assert (exhausted[0].dispatch_status, exhausted[0].dispatch_due_at) == (Status.FAILED, None)
    assert exhausted[0].dispatch_error
    assert redispatch() == ["Nothing to hand over."]


def test_limit_takes_the_oldest(use):
    use(into_queue)
    pks = [due(dispatch_due_at=ago(minutes=minutes)).pk for minutes in (5, 4, 3)]
    assert redispatch("--limit", "2") == [
        "2 events handed over to the dispatcher.",
        "1 event left for a later run.",
    ]
    assert queue == pks[:2]
    assert redispatch(limit=2) == ["1 event handed over to the dispatcher."]
    assert queue == pks


@pytest.mark.parametrize("limit", ["0", "-1"])
def test_limit_is_a_positive_number(limit):
    with pytest.raises(CommandError, match="--limit must be at least 1"):
        redispatch(f"--limit={limit}")


def test_none_events_are_taken_when_asked_for(use, settings):
    settings.TIME_ZONE = "America/Sao_Paulo"
    use(into_queue)
    before = event(received_at=datetime(2026, 3, 1, 2, 59, tzinfo=UTC))
    since = event(received_at=datetime(2026, 3, 1, 3, 0, tzinfo=UTC))
    waiting = due()
    assert redispatch() == ["1 event handed over to the dispatcher."]
    assert redispatch("--include-none", "--since", "2026-03-01") == ["1 event handed over to the dispatcher."]
    assert queue == [waiting.pk, since.pk]
    before.refresh_from_db()
    assert (before.dispatch_status, before.dispatch_due_at) == (Status.NONE, None)
    since.refresh_from_db()
    assert since.dispatch_status == Status.PENDING
    assert since.dispatch_due_at <= timezone.now()
    assert redispatch("--include-none", "--since", "2026-03-01") == ["Nothing to hand over."]


def test_none_events_inline(heard):
    unheard = event(received_at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    assert redispatch("--inline", "--include-none", "--since", "2026-03-01T12:00:01+00:00") == ["Nothing to hand over."]
    assert redispatch("--inline", "--include-none", "--since", "2026-03-01T12:00:00+00:00") == [
        "1 event tried.",
        "1 event done.",
    ]
    assert heard == [unheard.pk]


@pytest.mark.parametrize("since", ["2026-03-01", "2026-03-01T03:00:00Z"])
def test_since_without_time_zone_support(settings, use, since):
    settings.USE_TZ = False
    settings.TIME_ZONE = "America/Sao_Paulo"
    use(into_queue)
    event(received_at=datetime(2026, 2, 28, 23, 59))
    taken = event(received_at=datetime(2026, 3, 1))
    redispatch("--include-none", "--since", since)
    assert queue == [taken.pk]


def test_limit_leaves_none_events_as_they_are(use):
    use(into_queue)
    events(3)
    assert redispatch("--include-none", "--since", "2026-01-01", "--limit", "1") == [
        "1 event handed over to the dispatcher.",
        "2 events left for a later run.",
    ]
    assert DeliveryEvent.objects.filter(dispatch_status=Status.NONE).count() == 2


@pytest.mark.parametrize("args", [["--include-none"], ["--since", "2026-01-01"]])
def test_include_none_and_since_go_together(args):
    with pytest.raises(CommandError, match="go together"):
        redispatch(*args)


@pytest.mark.parametrize("since", ["yesterday", "2026-02-30", "2026-02-30T12:00", "31/01/2026"])
def test_since_is_a_date(since):
    with pytest.raises(CommandError, match="not a date"):
        redispatch("--include-none", "--since", since)


def test_a_dispatcher_that_fails_after_another_sweep_took_over(use):
    use(hangs_until_another_sweep_has_it)
    waiting = due()
    assert dispatch.sweep().refused == 1
    waiting.refresh_from_db()
    assert waiting.dispatch_sweep_after is not None


def test_every_event_once_over_many_batches(use, monkeypatch):
    use(into_queue)
    monkeypatch.setattr(dispatch, "_BATCH", 2)
    moment = ago(minutes=1)
    pks = [due(dispatch_due_at=moment).pk for _ in range(5)]
    pks += [due(dispatch_due_at=moment + timedelta(seconds=second)).pk for second in range(1, 5)]
    pks += [event().pk for _ in range(3)]
    assert redispatch("--include-none", "--since", "2026-01-01") == ["12 events handed over to the dispatcher."]
    assert queue == pks


def test_outcomes_of_many_batches_are_counted(heard, monkeypatch):
    monkeypatch.setattr(dispatch, "_BATCH", 2)
    events(5, dispatch_status=Status.PENDING, dispatch_due_at=ago(minutes=1))
    assert redispatch() == ["5 events handed over to the dispatcher.", "5 events done."]


def test_batches_go_on_where_the_last_one_ended(use, monkeypatch):
    """By due time and then by key, whichever of them was stored first."""
    use(into_queue)
    monkeypatch.setattr(dispatch, "_BATCH", 2)
    third, second, fourth, first = [due(dispatch_due_at=ago(minutes=minutes)).pk for minutes in (3, 4, 2, 5)]
    redispatch()
    assert queue == [first, second, third, fourth]


def test_a_sweep_reads_no_event_twice(use, django_assert_num_queries):
    use(into_queue)

    def sweep(rows):
        events(rows, dispatch_status=Status.PENDING, dispatch_due_at=ago(seconds=1))
        with django_assert_num_queries(6 + rows):
            assert dispatch.sweep().taken == rows

    sweep(1)
    sweep(5)


def test_an_event_that_another_sweep_took_holds_up_no_other(use):
    use(takes_the_second_too)
    pks = [due(dispatch_due_at=ago(minutes=minutes)).pk for minutes in (5, 4, 3)]
    assert dispatch.sweep().taken == 2
    assert queue == [pks[0], pks[2]]


def test_overlapping_sweeps_hand_nothing_over_twice(use):
    use(overlapped_by_another_sweep)
    pks = [due(dispatch_due_at=ago(minutes=minutes)).pk for minutes in (5, 4, 3)]
    redispatch()
    assert sorted(queue) == pks


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("none_since", [None, datetime(2026, 1, 1, tzinfo=UTC)])
def test_sweeps_at_the_same_time_hand_nothing_over_twice(use, none_since):
    use(into_queue)
    pks = [row.pk for row in events(30, dispatch_status=Status.PENDING, dispatch_due_at=ago(minutes=1))]
    if none_since:
        pks += [row.pk for row in events(30)]
    together = Barrier(3)

    def sweep(_):
        try:
            together.wait()
            return dispatch.sweep(none_since=none_since)
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        sweeps = list(pool.map(sweep, range(3)))
    assert sorted(queue) == sorted(pks)
    assert sum(swept.taken for swept in sweeps) == len(pks)


@pytest.mark.django_db(transaction=True)
def test_inline_sweeps_at_the_same_time_try_nothing_twice(heard):
    pks = [row.pk for row in events(20, dispatch_status=Status.PENDING, dispatch_due_at=ago(minutes=1))]
    together = Barrier(3)

    def sweep(_):
        try:
            together.wait()
            return dispatch.sweep(inline=True)
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        sweeps = list(pool.map(sweep, range(3)))
    assert sorted(heard) == sorted(pks)
    assert sum(swept.done for swept in sweeps) == len(pks)
