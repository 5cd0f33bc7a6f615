"""The sweep: what is due goes to the dispatcher, accounts in turns. The command around it has tests of its own."""

from datetime import timedelta
from itertools import count, groupby
from threading import Barrier

import pytest
from django.db import connection
from django.db.models import Count
from django.utils import timezone

from django_plugchat import dispatch
from django_plugchat.models import DeliveryEvent
from django_plugchat.signals import TellAgain
from django_plugchat.upkeep import sweeps
from django_plugchat.upkeep.sweeps import Sweep

from . import dispatchers
from .databases import in_threads
from .dispatchers import queue
from .receivers import Receiver, connected, failing
from .rows import Status, event, events
from .waiting import ago, ahead, due, make_due, states

pytestmark = pytest.mark.django_db

#: More than a sweep reads or looks at in one statement.
MANY = 620


def many_due(number, **fields):
    return events(number, **{"dispatch_status": Status.PENDING, "dispatch_due_at": ago(minutes=1)} | fields)


def pks(rows):
    return [row.pk for row in rows]


# What is taken


def test_hands_over_what_is_due_and_nothing_else(into_queue):
    failed = due(dispatch_status=Status.RETRYING, dispatch_attempts=1, dispatch_due_at=ago(seconds=3))
    died = due(dispatch_status=Status.RUNNING, dispatch_attempts=1, dispatch_due_at=ago(seconds=4))
    never_tried = due(dispatch_due_at=ago(seconds=5))
    for status in (Status.PENDING, Status.RUNNING, Status.RETRYING):
        event(dispatch_status=status, dispatch_due_at=ahead(minutes=1))
    for status in Status.values:
        event(dispatch_status=status)
    assert sweeps.sweep() == Sweep(taken=3, waiting=1, next_due_at=retrying().dispatch_due_at)
    assert queue == pks([never_tried, died, failed])


def retrying():
    return DeliveryEvent.objects.get(dispatch_status=Status.RETRYING, dispatch_due_at__isnull=False)


def test_what_is_handed_over_waits_for_a_worker_with_its_attempts_counted(into_queue):
    row = due(dispatch_status=Status.RETRYING, dispatch_attempts=1, dispatch_error="Old")
    sweeps.sweep()
    row.refresh_from_db()
    assert (row.dispatch_status, row.dispatch_attempts, row.dispatch_error) == ("pending", 1, "Old")
    with connected(Receiver()):
        dispatch.deliver(queue.pop())
    row.refresh_from_db()
    assert (row.dispatch_status, row.dispatch_attempts, row.dispatch_error) == ("done", 2, "")


def test_an_earlier_failure_is_not_this_sweeps(into_queue):
    due(dispatch_status=Status.RETRYING, dispatch_attempts=2)
    swept = sweeps.sweep()
    assert (swept.taken, swept.done, swept.failed) == (1, 0, 0)


def test_outcomes_of_many_are_counted():
    many_due(MANY)
    with connected(Receiver()):
        assert sweeps.sweep() == Sweep(taken=MANY, done=MANY)


@pytest.mark.parametrize(
    ("raises", "done", "failed"), [(None, 1, 0), (ValueError(), 0, 1), (SystemExit(), 0, 1), (TellAgain(600), 0, 0)]
)
def test_the_default_dispatcher_tells_how_attempts_went(raises, done, failed):
    due()
    with connected(Receiver(raises)):
        swept = sweeps.sweep()
    assert (swept.taken, swept.done, swept.failed, swept.waiting) == (1, done, failed, 1 - done)


def test_what_a_receiver_has_tried_besides_is_not_counted():
    first, second = due(dispatch_due_at=ago(seconds=2)), due()
    DeliveryEvent.objects.filter(pk=second.pk).update(dispatch_due_at=ahead(minutes=1))
    with connected(Receiver(does=lambda event: event.pk == first.pk and dispatch.deliver(second.pk))):
        assert sweeps.sweep() == Sweep(taken=1, done=1)
    assert states() == ["done", "done"]


@pytest.mark.django_db(transaction=True)
def test_what_a_worker_does_meanwhile_is_not_this_sweeps(use):
    """Whether a queue's worker is quick or slow must not change what the sweep says."""
    use(by_a_quick_worker)
    due()
    with connected(failing()):
        swept = sweeps.sweep()
    assert (swept.taken, swept.failed, swept.waiting) == (1, 0, 1)


def by_a_quick_worker(pk):
    in_threads([lambda: dispatch.deliver(pk)], 1)


def test_the_last_attempt_of_one_that_fails_counts_as_failed():
    due(dispatch_attempts=4)
    with connected(failing()):
        assert sweeps.sweep() == Sweep(taken=1, failed=1)
    assert states() == ["exhausted"]


def test_what_has_no_attempt_left_is_given_up(use):
    use(dispatchers.into_queue, DISPATCH_MAX_ATTEMPTS=3)
    many_due(MANY, dispatch_status=Status.RUNNING, dispatch_attempts=3)
    due(dispatch_status=Status.RETRYING, dispatch_attempts=4)
    last_chance = due(dispatch_attempts=2)
    running = event(dispatch_status=Status.RUNNING, dispatch_attempts=3, dispatch_due_at=ahead(minutes=1))
    assert sweeps.sweep() == Sweep(taken=1, exhausted=MANY + 1)
    assert queue == [last_chance.pk]
    given_up = DeliveryEvent.objects.exclude(pk__in=[last_chance.pk, running.pk])
    assert set(given_up.values_list("dispatch_status", "dispatch_due_at")) == {("exhausted", None)}
    assert not given_up.filter(dispatch_error="").exists()
    assert sweeps.sweep() == Sweep()


# Limits


def test_a_limit_counts_what_was_tried_inline():
    many_due(3)
    with connected(Receiver()):
        assert sweeps.sweep(limit=2, inline=True) == Sweep(taken=2, done=2, left=1)


# Accounts in turns


def test_accounts_take_turns(into_queue):
    """However many of one account are due, and for however long, another one's do not wait for all of them."""
    slow = many_due(400, dispatch_due_at=ago(days=2))
    quick = many_due(60, account="norte")
    sweeps.sweep()
    assert sorted(queue) == pks(slow + quick)
    account_of = dict(DeliveryEvent.objects.values_list("pk", "account"))
    turns = [(account, len(list(turn))) for account, turn in groupby(queue, account_of.get)]
    longest = max(length for account, length in turns[:-1])
    assert longest <= 50
    assert [account for account, _length in turns[:4]] == ["default", "norte", "default", "norte"]


def test_a_limit_is_shared_by_the_accounts(into_queue):
    many_due(200)
    many_due(200, account="norte")
    many_due(200, account="sul")
    sweeps.sweep(limit=150)
    taken = DeliveryEvent.objects.filter(pk__in=queue).order_by().values_list("account").annotate(Count("pk"))
    assert dict(taken) == {"default": 50, "norte": 50, "sul": 50}


def test_what_nobody_heard_is_taken_in_turns_as_well(into_queue):
    events(60, dispatch_status=Status.NONE, received_at=ago(hours=9))
    events(60, account="norte", dispatch_status=Status.NONE, received_at=ago(hours=1))
    assert sweeps.sweep(none_since=ago(days=1), limit=20) == Sweep(taken=20, left=100)
    taken = DeliveryEvent.objects.filter(pk__in=queue).order_by().values_list("account").annotate(Count("pk"))
    assert dict(taken) == {"default": 10, "norte": 10}
    assert DeliveryEvent.objects.filter(dispatch_status=Status.NONE).count() == 100


def test_a_limit_below_a_turn_starves_no_account(into_queue):
    many_due(40, dispatch_due_at=ago(minutes=1))
    many_due(40, account="norte", dispatch_due_at=ago(minutes=2))
    account_of = dict(DeliveryEvent.objects.values_list("pk", "account"))
    sweeps.sweep(limit=10)
    assert sorted(map(account_of.get, queue)) == ["default"] * 5 + ["norte"] * 5
    sweeps.sweep(limit=1)
    assert account_of[queue[-1]] == "norte"


def test_every_event_once_over_many_turns(into_queue):
    moment = ago(minutes=1)
    rows = many_due(120, dispatch_due_at=moment)
    rows += [due(dispatch_due_at=moment + timedelta(seconds=second / 2)) for second in range(1, 60)]
    unheard = events(130)
    assert sweeps.sweep(none_since=ago(days=1)).taken == len(rows) + len(unheard)
    assert queue == pks(rows + unheard)


@pytest.mark.django_db(transaction=True)
def test_a_sweep_reads_no_event_twice(into_queue, django_assert_num_queries):
    def sweep(rows):
        many_due(rows)
        with django_assert_num_queries(6 + rows):
            assert sweeps.sweep().taken == rows

    sweep(1)
    sweep(5)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the others know how many are due")
def test_a_sweep_reads_no_more_of_an_account_than_is_due(into_queue, django_assert_max_num_queries):
    due()
    with django_assert_max_num_queries(20) as captured:
        sweeps.sweep()
    with connection.cursor() as cursor:
        for statement in [query["sql"] for query in captured.captured_queries if query["sql"].startswith("SELECT")]:
            plan = cursor.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
            assert "plugchat_event_account" not in str(plan)


# What waits for its pause


def test_now_takes_what_waits_for_its_pause(into_queue):
    first = due()
    second = due(dispatch_status=Status.RETRYING, dispatch_attempts=1, dispatch_due_at=ahead(hours=1))
    # In a queue, or being tried.
    due(dispatch_due_at=ahead(minutes=1))
    due(dispatch_status=Status.RUNNING, dispatch_attempts=1, dispatch_due_at=ahead(minutes=1))
    assert sweeps.sweep().waiting == 1
    assert queue == [first.pk]
    assert sweeps.sweep(now=True) == Sweep(taken=1)
    assert queue == [first.pk, second.pk]


def test_now_gives_up_what_has_no_attempt_left(use):
    """Its pause has begun before the setting allowed fewer: no worker would take it."""
    use(dispatchers.into_queue, DISPATCH_MAX_ATTEMPTS=3)
    due(dispatch_status=Status.RETRYING, dispatch_attempts=3, dispatch_due_at=ahead(hours=1))
    assert sweeps.sweep() == Sweep(waiting=1, next_due_at=retrying().dispatch_due_at)
    assert sweeps.sweep(now=True) == Sweep(exhausted=1)
    assert queue == []
    assert states() == ["exhausted"]


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("raises", [None, ValueError(), TellAgain(0), TellAgain(-100)])
def test_now_tries_each_once(inline, raises):
    """Also what fails once more, and is retrying again while the sweep goes on."""
    many_due(60, dispatch_status=Status.RETRYING, dispatch_attempts=1, dispatch_due_at=ahead(seconds=10))
    receiver = Receiver(raises)
    with connected(receiver):
        assert sweeps.sweep(now=True, inline=inline).taken == 60
    assert len(receiver.heard) == 60
    assert set(DeliveryEvent.objects.values_list("dispatch_attempts", flat=True)) == {2}


def test_now_leaves_what_fails_meanwhile():
    """With as many as a turn has, each batch would be followed by one of newer failures."""
    waiting = {"dispatch_status": Status.RETRYING, "dispatch_attempts": 1, "dispatch_due_at": ahead(seconds=10)}
    many_due(60, **waiting)
    meanwhile = count()
    receiver = Receiver(ValueError(), does=lambda _event: next(meanwhile) < 200 and event(**waiting))
    with connected(receiver):
        assert sweeps.sweep(now=True).taken == 60


def test_now_with_a_limit_leaves_the_others_to_the_next_sweep(into_queue):
    """And to their pauses: a receiver that is mended is tried with one event first."""
    many_due(5, dispatch_status=Status.RETRYING, dispatch_attempts=1, dispatch_due_at=ahead(hours=1))
    swept = sweeps.sweep(now=True, limit=2)
    assert (swept.taken, swept.left, swept.waiting) == (2, 0, 3)
    due()
    swept = sweeps.sweep(now=True, limit=1)
    assert (swept.taken, swept.left, swept.waiting) == (1, 0, 3)


# What no receiver was connected for


def test_none_events_are_taken_when_asked_for(into_queue):
    since = ago(hours=1)
    before, unheard = event(received_at=ago(hours=2)), event(received_at=since)
    waiting = due()
    assert sweeps.sweep() == Sweep(taken=1)
    assert sweeps.sweep(none_since=since) == Sweep(taken=1)
    assert queue == pks([waiting, unheard])
    before.refresh_from_db()
    assert (before.dispatch_status, before.dispatch_due_at) == ("none", None)
    unheard.refresh_from_db()
    assert unheard.dispatch_status == "pending"
    assert sweeps.sweep(none_since=since) == Sweep()


# Inline


def test_inline_leaves_what_a_worker_took_meanwhile():
    first, second = due(dispatch_due_at=ago(seconds=2)), due()
    receiver = Receiver(does=lambda event: dispatch.deliver(second.pk))
    with connected(receiver):
        assert sweeps.sweep(inline=True) == Sweep(taken=1, done=1)
    assert receiver.heard == [first, second]


def test_a_receiver_that_exits_does_not_end_the_sweep():
    """It would stop at the same event each minute."""
    many_due(3)
    with connected(Receiver(SystemExit(), times=1)):
        swept = sweeps.sweep(inline=True)
    assert (swept.taken, swept.done, swept.failed, swept.waiting) == (3, 2, 1, 1)
    assert sorted(states()) == ["done", "done", "retrying"]


# Dispatchers that fail


def test_a_dispatcher_that_fails_leaves_the_event_due_and_the_others_unharmed(use):
    use(dispatchers.down_the_first_time)
    first, second = due(dispatch_due_at=ago(seconds=2)), due()
    assert sweeps.sweep() == Sweep(taken=1, refused=1, left=1)
    assert queue == pks([first, second])
    assert sweeps.sweep() == Sweep(taken=1)
    assert queue == pks([first, second, first])


def test_a_dispatcher_that_is_down_is_asked_ten_times(use, caplog):
    use(dispatchers.down)
    many_due(25)
    many_due(25, account="norte")
    assert sweeps.sweep() == Sweep(refused=10, left=50)
    assert len(queue) == 10
    assert "554499999999" not in caplog.text


def test_a_dispatcher_that_fails_now_and_then_is_asked_for_every_event(use):
    use(dispatchers.up_every_tenth_time)
    many_due(30)
    assert sweeps.sweep() == Sweep(taken=3, refused=27, left=27)


def test_what_is_refused_is_not_asked_for_again_in_the_same_sweep(use):
    use(dispatchers.down)
    rows = [due(dispatch_due_at=ago(minutes=1)) for _ in range(3)]
    assert sweeps.sweep(now=True).refused == 3
    assert queue == pks(rows)


def hangs_until_another_sweep_has_it(pk):
    DeliveryEvent.objects.update(dispatch_due_at=ahead(days=1))
    raise ConnectionError


def test_a_dispatcher_that_fails_after_another_sweep_took_over(use):
    use(hangs_until_another_sweep_has_it)
    due()
    assert sweeps.sweep() == Sweep(refused=1)
    assert not DeliveryEvent.objects.due().exists()


# Queues


@pytest.mark.parametrize(
    ("received", "pause"),
    [
        (timedelta(seconds=-10), timedelta(minutes=5)),
        (timedelta(seconds=10), timedelta(minutes=5)),
        (timedelta(minutes=20), timedelta(minutes=20)),
        (timedelta(hours=10), timedelta(hours=1)),
    ],
)
def test_a_queue_gets_as_long_again_as_the_event_has_waited(into_queue, received, pause):
    """A backlog of hours is not put into the queue again each minute."""
    row = due(received_at=timezone.now() - received)
    before = timezone.now()
    sweeps.sweep()
    after = timezone.now()
    row.refresh_from_db()
    assert before + pause <= row.dispatch_due_at <= after + pause + timedelta(minutes=1)
    assert sweeps.sweep().taken == 0
    make_due()
    assert sweeps.sweep().taken == 1
    assert queue == [row.pk, row.pk]


def test_a_failed_attempt_is_swept_when_its_pause_is_over_whatever_the_queue_was_given(into_queue):
    row = due(received_at=ago(hours=10))
    sweeps.sweep()
    with connected(failing()):
        dispatch.deliver(queue.pop())
    row.refresh_from_db()
    assert row.dispatch_due_at < ahead(minutes=6)
    make_due()
    assert sweeps.sweep().taken == 1
    assert queue == [row.pk]


# Sweeps that overlap


def takes_the_second_too(pk):
    dispatchers.into_queue(pk)
    second = DeliveryEvent.objects.order_by("pk")[1]
    DeliveryEvent.objects.filter(pk=second.pk).update(dispatch_due_at=ahead(minutes=1))


def test_an_event_that_another_sweep_took_holds_up_no_other(use):
    use(takes_the_second_too)
    rows = [due(dispatch_due_at=ago(minutes=minutes)) for minutes in (5, 4, 3)]
    assert sweeps.sweep().taken == 2
    assert queue == pks([rows[0], rows[2]])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("options", [{}, {"now": True}, {"none_since": ago(days=1)}])
def test_sweeps_at_the_same_time_hand_nothing_over_twice(into_queue, options):
    rows = many_due(30)
    if "none_since" in options:
        rows += events(30)
    together = Barrier(3)

    def sweep():
        together.wait()
        return sweeps.sweep(**options)

    swept_by_each = in_threads([sweep] * 3, 3)
    assert sorted(queue) == pks(rows)
    assert sum(swept.taken for swept in swept_by_each) == len(rows)
