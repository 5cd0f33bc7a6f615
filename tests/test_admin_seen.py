"""``ADMIN_ACCOUNTS``: whoever sees some accounts finds nothing of the others, wherever they look."""

import re

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from django_plugchat import accounts
from django_plugchat.models import Account, Connection, DeliveryEvent, Registration, RejectedCallback
from tests.people import EVENTS, OVERVIEW, REJECTED, person, select, text_of
from tests.rows import event, rejected

pytestmark = pytest.mark.django_db

ACCOUNTS = "/admin/django_plugchat/account/"
PERMISSIONS = (
    *("view_deliveryevent", "delete_deliveryevent", "export_deliveryevent", "redispatch_deliveryevent", "view_phone"),
    *("view_rejectedcallback", "delete_rejectedcallback", "replay_rejectedcallback"),
    *("view_account", "add_account", "change_account", "delete_account"),
)
#: What everything of the other account has in it.
FOREIGN = "foreign"


def one_account(user):
    return ["mine"]


def one_name(user):
    return "mine"


def no_account(user):
    return []


def every_account(user):
    return None


@pytest.fixture
def rows():
    """The same of each: an event of one message, a rejected callback, a connection, an account."""
    found = {}
    for alias in ("mine", FOREIGN):
        row = accounts.add(alias, label=f"Label {alias}")
        secret = accounts.new_secret(alias)
        found[alias] = (
            event(account=alias, zaap_id="SAME", custom_id=f"order-{alias}", outcome="failed", error=f"{alias} error"),
            rejected(f'{{"zaapId": "SAME", "customId": "{alias}"}}'.encode(), account=alias),
            row,
        )
        Connection.objects.create(
            account=alias, instance_id=f"instance-{alias}", is_connected=False, since=timezone.now()
        )
        Registration.objects.create(account=alias, webhook=f"webhook-{alias}", secret_id="0" * 8)
        assert secret
    return found


@pytest.fixture(params=[one_account, one_name])
def client(request, plugchat):
    plugchat(ADMIN_ACCOUNTS=f"tests.test_admin_seen.{request.param.__name__}")
    return person(*PERMISSIONS)


LISTS = [EVENTS, REJECTED, ACCOUNTS, OVERVIEW]


@pytest.mark.parametrize("url", [*LISTS, f"{EVENTS}?q=SAME", f"{REJECTED}?q=SAME", f"{OVERVIEW}?q=label"])
def test_lists_show_nothing_of_others(url, client, rows):
    page = client.get(url).content.decode()
    assert FOREIGN not in page
    assert "mine" in page


@pytest.mark.parametrize("url", [EVENTS, REJECTED])
def test_nothing_of_others_is_counted_or_filtered_for(url, client, rows):
    assert client.get(url).context["cl"].result_count == 1
    for lookup in ("account=foreign", "q=foreign", "account=foreign&q=SAME"):
        page = client.get(f"{url}?{lookup}")
        assert page.context["cl"].result_count == 0
        assert "Label foreign" not in text_of(page)


def test_the_chart_counts_no_message_of_others(client, rows):
    hours = re.findall(r"\d\d:00 (\d+) (\d+)", text_of(client.get(f"{EVENTS}chart/?received=today")))
    assert sum(int(sent) + int(failed) for sent, failed in hours) == 1


def test_a_file_has_no_message_of_others(client, rows):
    answer = client.post(
        EVENTS, {"action": "export_csv", "_selected_action": [row.pk for row, *_others in rows.values()]}
    )
    content = b"".join(answer).decode()
    assert FOREIGN not in content
    assert "order-mine" in content


def test_pages_of_others_are_not_found_by_their_address(client, rows):
    event_row, rejected_row, account = rows[FOREIGN]
    for url, row in ((EVENTS, event_row), (REJECTED, rejected_row), (ACCOUNTS, account)):
        for page in ("change", "delete", "history"):
            answer = client.get(f"{url}{row.pk}/{page}/", follow=True)
            assert FOREIGN not in answer.content.decode()
    for step in ("register", "address", "test", "retire"):
        assert client.post(f"{ACCOUNTS}{account.pk}/{step}/").status_code == 404


def test_the_page_of_a_message_shows_no_event_of_others(client, rows):
    own = rows["mine"][0]
    page = client.get(f"{EVENTS}{own.pk}/change/").content.decode()
    assert "order-mine" in page
    assert FOREIGN not in page


@pytest.mark.parametrize(
    ("url", "action", "place"), [(EVENTS, "delete_selected", 0), (EVENTS, "redispatch", 0), (REJECTED, "replay", 1)]
)
def test_forged_actions_touch_nothing_of_others(url, action, place, client, rows):
    row = rows[FOREIGN][place]
    before = (DeliveryEvent.objects.get(account=FOREIGN).dispatch_attempts, RejectedCallback.objects.count())
    for across in ("0", "1"):
        select(client, url, action, row, post="yes", select_across=across, account=FOREIGN)
    assert (DeliveryEvent.objects.get(account=FOREIGN).dispatch_attempts, RejectedCallback.objects.count()) == before


def test_accounts_are_added_by_those_who_see_all(client, rows):
    assert client.get(f"{ACCOUNTS}add/").status_code == 403
    assert Account.objects.count() == 2


def test_whoever_sees_none_finds_nothing(rows, plugchat):
    plugchat(ADMIN_ACCOUNTS="tests.test_admin_seen.no_account")
    client = person(*PERMISSIONS)
    for url in LISTS:
        page = client.get(url).content.decode()
        assert "Label " not in page
        assert "order-" not in page


def test_whoever_sees_all_finds_everything(rows, plugchat):
    plugchat(ADMIN_ACCOUNTS="tests.test_admin_seen.every_account")
    client = person(*PERMISSIONS)
    for url in (EVENTS, REJECTED, ACCOUNTS, OVERVIEW):
        assert "Label foreign" in client.get(url).content.decode()


def test_the_function_is_asked_once_for_a_page(rows, plugchat, monkeypatch):
    asked = []
    monkeypatch.setattr("tests.test_admin_seen.one_account", lambda user: asked.append(user) or ["mine"])
    plugchat(ADMIN_ACCOUNTS="tests.test_admin_seen.one_account")
    person(*PERMISSIONS).get(EVENTS)
    assert len(asked) == 1


@pytest.fixture
def stores(settings, transactional_db):
    """The model of ``tests.stores`` and its tables, for one test."""
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "tests.stores"]
    store = apps.get_model("stores", "Store")
    with connection.schema_editor() as editor:
        editor.create_model(store)
    yield store.objects
    with connection.schema_editor() as editor:
        editor.delete_model(store)


@pytest.mark.django_db(transaction=True)
def test_stores_that_have_staff(stores, rows, plugchat):
    plugchat(ADMIN_ACCOUNTS="tests.stores.models.accounts_of")
    client = person(*PERMISSIONS)
    assert "order-" not in client.get(EVENTS).content.decode()
    mine = stores.create(name="Mine", account="mine")
    assert str(mine) == "Mine"
    mine.staff.add(User.objects.get())
    page = client.get(EVENTS).content.decode()
    assert "order-mine" in page
    assert FOREIGN not in page
    boss = person(is_superuser=True)
    assert "order-foreign" in boss.get(EVENTS).content.decode()
