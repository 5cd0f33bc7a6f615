from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from django.utils.translation import override

from django_plugchat.conf import secret_id
from django_plugchat.signals import delivery_recorded
from django_plugchat.status import RULES, statuses
from tests.conftest import EXAMPLE, SECRET
from tests.rows import Status, event, events, rejected

pytestmark = pytest.mark.django_db

RETIRING = "retiring-secret-of-the-default-account"


@pytest.fixture
def receiver():
    def receiver(**kwargs): ...

    delivery_recorded.connect(receiver)
    yield
    delivery_recorded.disconnect(receiver)


def ago(**duration):
    return timezone.now() - timedelta(**duration)


def run(*args):
    """Whether it succeeded, and what it wrote to standard output."""
    output = StringIO()
    try:
        call_command("plugchat_status", *args, stdout=output)
    except CommandError:
        return False, output.getvalue()
    return True, output.getvalue()


def report():
    succeeded, output = run("--json")
    found = json.loads(output)
    assert found["ok"] == succeeded
    return {account["account"]: account for account in found["accounts"]}


def problems(account="default"):
    return report()[account]["problems"]


def test_nothing_stored():
    succeeded, output = run()
    assert succeeded
    assert output.splitlines() == [
        "Loja Centro (default)",
        "  Last callback: never",
        "  In 24 hours: 0 received, 0 of them not sent; 0 rejected",
        "  Dispatches: 0 due, 0 exhausted, 0 without a receiver",
        "  Rejected callbacks kept: 0",
        "",
        "norte",
        "  Last callback: never",
        "  In 24 hours: 0 received, 0 of them not sent; 0 rejected",
        "  Dispatches: 0 due, 0 exhausted, 0 without a receiver",
        "  Rejected callbacks kept: 0",
    ]


def test_no_account(plugchat):
    plugchat(ACCOUNTS={})
    assert run() == (True, "PLUGCHAT has no account.\n")


def test_json():
    last = event(outcome="failed", dispatch_status=Status.PENDING, dispatch_due_at=ago(minutes=15))
    event(received_at=ago(hours=25), dispatch_status=Status.PENDING, dispatch_due_at=ago(minutes=5))
    event(dispatch_status=Status.PENDING, dispatch_due_at=ago(minutes=-5))
    event(dispatch_status=Status.FAILED)
    event(received_at=ago(hours=25))
    event(secret_id=secret_id(RETIRING), dispatch_status=Status.DONE)
    newest = event(account="norte", secret_id=secret_id("secret-of-the-account-norte"))
    rejected(received_at=ago(hours=25))
    rejected(received_at=ago(hours=25), last_received_at=ago(hours=1))
    found = report()
    assert list(found) == ["default", "norte"]
    assert last.received_at.isoformat() < found["default"].pop("last_callback")
    (secret,) = found["default"].pop("other_secrets")
    assert datetime.fromisoformat(secret.pop("last_seen")).tzinfo
    assert secret == {"secret_id": secret_id(RETIRING), "state": "retiring"}
    assert found["default"] == {
        "account": "default",
        "label": "Loja Centro",
        "configured": True,
        "last_24_hours": {"received": 4, "failed": 1, "none": 0, "rejected": 1},
        "dispatch": {"due": 2, "overdue": 1, "exhausted": 1, "none": 1},
        "rejected": 2,
        "problems": ["overdue", "exhausted", "rejected", "retiring_secret"],
    }
    assert found["norte"] == {
        "account": "norte",
        "label": "norte",
        "configured": True,
        "last_callback": newest.received_at.isoformat(),
        "last_24_hours": {"received": 1, "failed": 0, "none": 1, "rejected": 0},
        "dispatch": {"due": 0, "overdue": 0, "exhausted": 0, "none": 1},
        "rejected": 0,
        "other_secrets": [],
        "problems": [],
    }


def test_problems_are_explained_and_counted():
    event(dispatch_status=Status.FAILED)
    rejected()
    output = StringIO()
    with pytest.raises(CommandError, match="2 things need a person"):
        call_command("plugchat_status", stdout=output)
    said = [line for line in output.getvalue().splitlines() if line.startswith("!")]
    assert [line.split(":")[0] for line in said] == ["! exhausted", "! rejected"]
    rejected(account="norte")
    with pytest.raises(CommandError, match="3 things need a person"):
        call_command("plugchat_status", stdout=output)


@pytest.mark.parametrize(
    ("days_before_the_last", "hours_since", "is_silent"),
    [
        # Every day: a day and a half.
        (range(1, 14), 35, False),
        (range(1, 14), 37, True),
        # Not at weekends: four days.
        ([1, 2, 3, 4, 7, 8, 9, 10, 11], 95, False),
        ([1, 2, 3, 4, 7, 8, 9, 10, 11], 97, True),
        # Every eighth day: fourteen.
        ([8], 13 * 24, False),
        ([8], 15 * 24, True),
        # On one day alone, or on none of these: fourteen.
        ([], 13 * 24, False),
        ([], 15 * 24, True),
        ([15], 13 * 24, False),
        ([15], 15 * 24, True),
    ],
)
def test_silent_for_longer_than_usual(days_before_the_last, hours_since, is_silent):
    last = ago(hours=hours_since)
    event(received_at=last)
    for days in days_before_the_last:
        event(received_at=last - timedelta(days=days, minutes=1))
    assert problems() == ["silent"] * is_silent
    assert problems("norte") == []


def test_silence_without_time_zone_support(settings):
    settings.USE_TZ = False
    event(received_at=datetime.now() - timedelta(days=15))
    succeeded, output = run()
    assert not succeeded
    assert "! silent" in output


@pytest.mark.parametrize(("failed", "sent", "applies"), [(11, 9, True), (10, 10, False), (19, 0, False), (20, 0, True)])
def test_failures(failed, sent, applies):
    events(failed, outcome="failed")
    events(sent)
    events(30, outcome="failed", received_at=ago(hours=25))
    assert problems() == ["failures"] * applies


@pytest.mark.parametrize(("minutes", "applies"), [(9, False), (11, True)])
@pytest.mark.parametrize("status", [Status.PENDING, Status.FAILED])
def test_overdue(status, minutes, applies):
    event(dispatch_status=status, dispatch_due_at=ago(minutes=minutes))
    assert problems() == ["overdue"] * applies


def test_exhausted():
    event(received_at=ago(hours=30), dispatch_status=Status.FAILED)
    assert problems() == ["exhausted"]


def test_a_failure_that_is_tried_again_is_not_exhausted():
    event(dispatch_status=Status.FAILED, dispatch_due_at=ago(minutes=-5))
    assert problems() == []


@pytest.mark.parametrize(("hours", "applies"), [(23, True), (25, False)])
def test_rejected(hours, applies):
    rejected(received_at=ago(hours=100), last_received_at=ago(hours=hours))
    assert problems() == ["rejected"] * applies


@pytest.mark.parametrize(("limit", "applies"), [(1, True), (2, True), (3, False), (0, False)])
def test_rejected_full(plugchat, limit, applies):
    plugchat(MAX_REJECTED=limit)
    for _ in range(2):
        rejected(received_at=ago(hours=100))
    assert problems() == ["rejected_full"] * applies


@pytest.mark.parametrize(
    ("secret", "days", "found"),
    [
        (SECRET, 1, []),
        (RETIRING, 1, ["retiring_secret"]),
        (RETIRING, 4, []),
        ("a-secret-that-was-removed-long-ago", 1, ["unknown_secret"]),
        ("a-secret-that-was-removed-long-ago", 4, []),
    ],
)
def test_secrets(secret, days, found):
    event(received_at=ago(days=days), secret_id=secret_id(secret))
    event()
    assert problems() == found
    _succeeded, output = run()
    assert (secret_id(secret) in output) == bool(found)


def test_an_event_without_a_receiver_where_there_is_none():
    event()
    assert problems() == []


@pytest.mark.usefixtures("receiver")
@pytest.mark.parametrize(("hours", "found"), [(23, ["no_receiver"]), (25, [])])
def test_an_event_without_a_receiver_where_there_is_one(hours, found):
    event(received_at=ago(hours=hours))
    assert problems() == found


def test_accounts_that_are_no_longer_configured_are_shown():
    old = {"received_at": ago(days=100), "secret_id": secret_id("a-secret-that-was-removed-long-ago")}
    event(account="sul", **old)
    event(account="sul", **old)
    rejected(account="oeste", **old)
    rejected(account="norte", **old)
    assert list(report()) == ["default", "norte", "oeste", "sul"]
    assert report()["sul"]["configured"] is False
    succeeded, output = run()
    assert succeeded
    assert "sul, no longer configured" in output.splitlines()


def test_an_account_that_was_removed_though_it_is_called():
    event(account="sul", secret_id=secret_id("a-secret-that-was-removed-just-now"))
    assert problems("sul") == ["unknown_secret"]


def test_nothing_vanishes_where_the_database_ignores_case(plugchat, settings):
    plugchat(ACCOUNTS={"Default": settings.PLUGCHAT["ACCOUNTS"]["default"]})
    event(account="Default", received_at=ago(days=9), dispatch_status=Status.DONE)
    event(dispatch_status=Status.FAILED)
    assert sum(found["dispatch"]["exhausted"] for found in report().values()) == 1


def test_every_rule_is_documented():
    from django_plugchat import status

    assert [name for name in RULES if f"``{name}``" not in status.__doc__] == []


def test_neither_secrets_nor_personal_data_are_told(settings):
    event(error=EXAMPLE["phone"], payload=EXAMPLE, secret_id=secret_id(RETIRING), dispatch_error=EXAMPLE["phone"])
    rejected(EXAMPLE["phone"].encode())
    told = run()[1] + run("--json")[1]
    for account in settings.PLUGCHAT["ACCOUNTS"].values():
        for secret in [account["TOKEN"], *account["WEBHOOK_SECRETS"]]:
            assert secret not in told
    assert EXAMPLE["phone"] not in told
    assert "A20DA9C0" not in told


def test_json_is_the_same_in_every_language():
    event(dispatch_status=Status.FAILED)
    in_english = statuses()
    with override("pt-br"):
        output = StringIO()
        with suppress(CommandError):
            call_command("plugchat_status", "--json", stdout=output)
    (account, _norte) = json.loads(output.getvalue())["accounts"]
    assert account["problems"] == in_english[0].problems == ["exhausted"]


@pytest.mark.parametrize("rows", [1, 40])
def test_the_number_of_queries_does_not_grow_with_the_rows(django_assert_num_queries, rows):
    events(rows)
    for _ in range(rows):
        rejected()
    with django_assert_num_queries(4 + 6 + 2):
        statuses()
