"""What ``plugchat_redispatch`` takes as arguments, and what it says. The sweep itself has tests of its own."""

import re
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from django_plugchat import tasks, times
from django_plugchat.models import DeliveryEvent
from django_plugchat.signals import TellAgain

from . import dispatchers
from .payloads import EXAMPLE
from .receivers import Receiver, connected, failing
from .rows import Status, event, events
from .waiting import ago, ahead, due, states

pytestmark = pytest.mark.django_db


def redispatch(*args, failure=None):
    """The lines that the command prints; it fails with ``failure``, or else not at all."""
    output = StringIO()
    if failure is None:
        call_command("plugchat_redispatch", *args, stdout=output)
    else:
        with pytest.raises(CommandError, match=failure) as raised:
            call_command("plugchat_redispatch", *args, stdout=output)
        assert EXAMPLE["phone"] not in str(raised.value)
    return output.getvalue().splitlines()


def counts(lines):
    """The first number of each line, with a word that tells the line."""
    words = ("handed", "tried", "all receivers", "given up", "later run", "next attempt")
    return [(next(word for word in words if word in line), *map(int, re.findall(r"\d+", line)[:1])) for line in lines]


def test_hands_over_what_is_due(into_queue):
    first, second = due(dispatch_due_at=ago(seconds=2)), due()
    assert counts(redispatch()) == [("handed", 2)]
    assert into_queue == [first.pk, second.pk]
    assert counts(redispatch()) == [("handed", 0)]


def test_says_what_receivers_took():
    events(2, dispatch_status=Status.PENDING, dispatch_due_at=ago(seconds=1))
    with connected(Receiver()):
        assert counts(redispatch()) == [("handed", 2), ("all receivers", 2)]
    assert states() == ["done", "done"]


def test_limit_leaves_the_rest(into_queue):
    rows = [due(dispatch_due_at=ago(minutes=minutes)) for minutes in (3, 2, 1)]
    assert counts(redispatch("--limit=2")) == [("handed", 2), ("later run", 1)]
    assert into_queue == [row.pk for row in rows[:2]]


@pytest.mark.parametrize("limit", ["0", "-1"])
def test_limit_is_a_positive_number(limit):
    assert redispatch(f"--limit={limit}", failure="--limit must be at least 1") == []


def test_a_receiver_that_raises_makes_the_run_fail():
    due()
    with connected(failing()):
        lines = redispatch(failure="that failed: 1")
        assert counts(lines) == [("handed", 1), ("next attempt", 1)]
        events(2, dispatch_status=Status.PENDING, dispatch_due_at=ago(seconds=1))
        assert counts(redispatch(failure="that failed: 2"))[0] == ("handed", 2)


def test_an_earlier_failure_is_not_this_runs_but_its_pause_is_said():
    waiting = due(dispatch_status=Status.RETRYING, dispatch_attempts=2, dispatch_due_at=ahead(hours=1))
    due(dispatch_status=Status.RETRYING, dispatch_attempts=2, dispatch_due_at=ahead(hours=2))
    with connected(Receiver()):
        lines = redispatch()
    assert counts(lines) == [("handed", 0), ("next attempt", 2)]
    assert times.shown(waiting.dispatch_due_at) in lines[1]
    assert states() == ["retrying", "retrying"]


@pytest.mark.parametrize("inline", [[], ["--inline"]])
def test_now_does_not_wait_for_the_pause(inline):
    due(dispatch_status=Status.RETRYING, dispatch_attempts=2, dispatch_due_at=ahead(hours=1))
    with connected(Receiver()):
        lines = redispatch("--now", *inline)
    assert counts(lines) == [("tried" if inline else "handed", 1), ("all receivers", 1)]
    assert states() == ["done"]


@pytest.mark.parametrize("inline", [[], ["--inline"]])
@pytest.mark.parametrize("dispatcher", [tasks.enqueue, dispatchers.at_once])
def test_a_receiver_that_asks_to_be_told_again_does_not_make_the_run_fail(use, inline, dispatcher):
    """Whoever runs it here and now: the default backend, a dispatcher of the project, or the command itself."""

    class NotYet(TellAgain):
        pass

    use(dispatcher)
    due()
    with connected(Receiver(), Receiver(NotYet(seconds=600))):
        assert counts(redispatch(*inline)) == [("tried" if inline else "handed", 1), ("next attempt", 1)]
    assert states() == ["retrying"]


@pytest.mark.parametrize("inline", [[], ["--inline"]])
def test_asking_again_in_the_last_attempt_makes_the_run_fail(use, inline):
    use(tasks.enqueue, DISPATCH_MAX_ATTEMPTS=1)
    due()
    with connected(Receiver(TellAgain())):
        redispatch(*inline, failure="that failed: 1")
    assert states() == ["exhausted"]


def test_inline_calls_receivers_whatever_the_dispatcher_is(into_queue):
    waiting = due()
    with connected(receiver := Receiver()):
        assert counts(redispatch("--inline")) == [("tried", 1), ("all receivers", 1)]
    assert [heard.pk for heard in receiver.heard] == [waiting.pk]
    assert into_queue == []


def test_inline_fails_with_its_attempts():
    events(2, dispatch_status=Status.PENDING, dispatch_due_at=ago(seconds=1))
    with connected(failing()):
        assert counts(redispatch("--inline", failure="that failed: 2"))[0] == ("tried", 2)


def test_inline_without_a_receiver_says_so_and_tries_nothing():
    due()
    assert redispatch("--inline", failure="No receiver") == []
    assert states() == ["pending"]


def test_a_dispatcher_that_fails_makes_the_run_fail(use):
    use(dispatchers.down)
    events(2, dispatch_status=Status.PENDING, dispatch_due_at=ago(seconds=1))
    assert counts(redispatch(failure="still due: 2")) == [("handed", 0), ("later run", 2)]


def test_what_has_no_attempt_left_is_given_up(use):
    use(dispatchers.into_queue, DISPATCH_MAX_ATTEMPTS=3)
    events(2, dispatch_status=Status.RUNNING, dispatch_attempts=3, dispatch_due_at=ago(seconds=1))
    assert counts(redispatch()) == [("handed", 0), ("given up", 2)]
    assert states() == ["exhausted", "exhausted"]


def test_none_events_are_taken_since_a_day_of_the_projects(into_queue, settings):
    settings.TIME_ZONE = "America/Sao_Paulo"
    event(received_at=datetime(2026, 3, 1, 2, 59, tzinfo=UTC))
    since = event(received_at=datetime(2026, 3, 1, 3, 0, tzinfo=UTC))
    assert counts(redispatch()) == [("handed", 0)]
    assert counts(redispatch("--include-none", "--since", "2026-03-01")) == [("handed", 1)]
    assert into_queue == [since.pk]
    assert states() == ["none", "pending"]


def test_none_events_are_taken_since_a_moment():
    event(received_at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    with connected(Receiver()):
        assert counts(redispatch("--include-none", "--since", "2026-03-01T12:00:01+00:00")) == [("handed", 0)]
        assert counts(redispatch("--include-none", "--since", "2026-03-01T12:00:00+00:00")) == [
            ("handed", 1),
            ("all receivers", 1),
        ]


@pytest.mark.parametrize("since", ["2026-03-01", "2026-03-01T03:00:00Z"])
def test_since_without_time_zone_support(settings, into_queue, since):
    settings.USE_TZ = False
    settings.TIME_ZONE = "America/Sao_Paulo"
    event(received_at=datetime(2026, 2, 28, 23, 59))
    taken = event(received_at=datetime(2026, 3, 1))
    redispatch("--include-none", "--since", since)
    assert into_queue == [taken.pk]


@pytest.mark.parametrize("args", [["--include-none"], ["--since=2026-01-01"]])
def test_include_none_and_since_need_each_other(args):
    assert redispatch(*args, failure="--include-none and --since") == []


@pytest.mark.parametrize("since", ["yesterday", "2026-02-30", "2026-02-30T12:00", "31/01/2026", "9999-12-31T23:59"])
def test_since_is_a_date(since):
    event()
    assert redispatch("--include-none", "--since", since, failure="--since needs a date") == []
    assert DeliveryEvent.objects.get().dispatch_status == Status.NONE
