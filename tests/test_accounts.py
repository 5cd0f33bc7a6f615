import asyncio
import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import Error, OperationalError, connection, connections
from django.test import AsyncClient
from django.urls import resolve
from django.utils import translation
from django.utils.translation import gettext_lazy

from django_plugchat import accounts, conf, spool, statements
from django_plugchat.conf import digest_of, secret_id
from django_plugchat.models import Account, DeliveryEvent, WebhookSecret

from .databases import kill_connection
from .payloads import EXAMPLE, RETIRING_SECRET, SECRET, SECRET_OF_NORTE, url_of

pytestmark = pytest.mark.django_db


def added(alias: str = "filial", **options: Any) -> str:
    accounts.add(alias, **options)
    return accounts.new_secret(alias)


def caller(secret: str) -> str | None:
    return accounts.caller(digest_of(secret), statements.trying_again)


@pytest.fixture
def clock(monkeypatch):
    """Moves the clock that says how old knowledge is."""
    accounts.forget()
    now = [1e9]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def later(seconds: float) -> None:
        now[0] += seconds

    yield later
    accounts.forget()


class Reads:
    """The statements that look a secret up; while ``is_away`` they fail."""

    is_away = False
    count = 0

    def __call__(self, execute, sql, *args):
        if "webhooksecret" in sql and sql.startswith("SELECT"):
            self.count += 1
            if self.is_away:
                raise OperationalError("the server closed the connection")
        return execute(sql, *args)


@pytest.fixture
def reads():
    reads = Reads()
    with connection.execute_wrapper(reads):
        yield reads


# Who calls


def test_a_secret_of_the_database_is_read_once_in_half_a_minute(clock, reads):
    secret = added()
    clock(1)
    assert caller(secret) == "filial"
    clock(29)
    assert caller(secret)
    assert reads.count == 1
    clock(2)
    assert caller(secret)
    assert reads.count == 2


def test_a_wrong_secret_costs_one_read(clock, reads):
    added()
    clock(1)
    assert [caller("wrong"), caller("wrong")] == [None, None]
    assert reads.count == 2


def test_without_accounts_in_the_database_wrong_secrets_cost_one_read_in_half_a_minute(clock, reads):
    clock(1)
    assert {caller(f"wrong {number}") for number in range(100)} == {None}
    assert reads.count == 1
    clock(31)
    assert caller("wrong") is None
    assert reads.count == 2


def test_a_new_secret_works_at_once_in_its_process(clock):
    clock(1)
    assert caller("wrong") is None
    clock(1)
    assert caller(added())


def test_a_secret_that_another_process_made_works_at_once_unless_it_is_the_first(clock):
    added()
    clock(1)
    assert caller("made elsewhere") is None
    digest = digest_of("made elsewhere")
    # Tells no signal, as another process tells none here.
    WebhookSecret.objects.bulk_create([WebhookSecret(account=Account.objects.get(), digest=digest)])
    assert caller("made elsewhere")


@pytest.mark.parametrize(
    "retire",
    [
        lambda: WebhookSecret.objects.all()._raw_delete("default"),
        lambda: Account.objects.update(is_active=False),
    ],
)
def test_what_another_process_retires_is_refused_within_half_a_minute(retire, clock):
    secret = added()
    clock(1)
    assert caller(secret)
    retire()
    assert caller(secret)
    clock(31)
    assert caller(secret) is None


def test_a_known_secret_stays_known_while_the_database_is_away(clock, reads):
    secret = added()
    other = accounts.new_secret("filial")
    clock(1)
    assert caller(secret)
    assert caller(other)
    clock(3600)
    reads.is_away, reads.count = True, 0
    assert caller(secret)
    assert caller(secret)
    assert reads.count == 1
    clock(31)
    assert caller(other)
    assert reads.count == 2
    reads.is_away = False
    clock(31)
    accounts.retire("filial", secret_id(secret))
    assert caller(secret) is None
    assert caller(other)


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_for_a_database_that_is_known_to_be_away(clock, reads, post, plugchat, tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "process", spool.Process())
    plugchat(SPOOL_DIR=str(tmp_path / "spool"))
    secrets = [added(), accounts.new_secret("filial")]
    clock(1)
    assert all(map(caller, secrets))
    clock(3600)
    monkeypatch.setattr(spool, "SLOW", -1)
    reads.is_away, reads.count = True, 0
    assert [post(EXAMPLE, url=url_of(secret)).json() for secret in secrets] == 2 * [{"status": "kept"}]
    assert reads.count == 1


def test_an_unknown_secret_is_no_wrong_one_while_the_database_is_away(clock, reads, post):
    secret = added()
    clock(1)
    reads.is_away = True
    with pytest.raises(Error):
        caller(secret)
    assert post(EXAMPLE, url=url_of(secret)).status_code == 503
    reads.is_away = False
    assert post(EXAMPLE, url=url_of(secret)).status_code == 200


def test_a_failing_read_leaves_the_transaction_around_it_whole(post):
    def fails(execute, sql, *args):
        return execute(sql.replace("webhooksecret", "no_such_table"), *args)

    with connection.execute_wrapper(fails), pytest.raises(Error):
        caller("wrong")
    assert Account.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_died_while_idle_is_replaced(post, monkeypatch):
    url = url_of(added())
    kill_connection(monkeypatch)
    assert post(EXAMPLE, url=url).json() == {"status": "recorded"}


def test_a_callback_of_an_account_of_the_database_is_stored(post):
    secret = added()
    assert post(EXAMPLE, url=url_of(secret)).json() == {"status": "recorded"}
    event = DeliveryEvent.objects.get()
    assert (event.account, event.secret_id) == ("filial", secret_id(secret))
    accounts.retire("filial", secret_id(secret))
    assert post(EXAMPLE, url=url_of(secret)).status_code == 404


@pytest.mark.django_db(transaction=True)
def test_under_asgi_the_database_is_not_asked_on_the_event_loop():
    url = url_of(added())

    async def call() -> Any:
        # Django refuses statements here.
        resolve(url)
        answer = await AsyncClient().post(url, EXAMPLE, content_type="application/json")
        await sync_to_async(connections.close_all)()
        return answer

    assert asyncio.run(call()).json() == {"status": "recorded"}


@pytest.mark.django_db(transaction=True)
def test_statements_of_a_callback(post, django_assert_num_queries):
    secret = added()
    Account.objects.bulk_create(Account(alias=f"account {number}") for number in range(10_000))
    rows = Account.objects.exclude(alias="filial")
    WebhookSecret.objects.bulk_create(WebhookSecret(account=row, digest=digest_of(row.alias)) for row in rows)
    with django_assert_num_queries(1):
        post(EXAMPLE)
    with django_assert_num_queries(2):
        post(EXAMPLE, url=url_of(secret))
    with django_assert_num_queries(1):
        post(EXAMPLE, url=url_of(secret))
    with django_assert_num_queries(1):
        assert post(EXAMPLE, url=url_of("wrong")).status_code == 404


# Accounts


def test_all_accounts(django_assert_num_queries):
    added("b")
    added("a", label="A", provider="z-api", instance="3E4F")
    accounts.add("inactive")
    Account.objects.filter(alias="inactive").update(is_active=False)
    with django_assert_num_queries(1):
        found = accounts.all_accounts()
    assert [(alias, account.label) for alias, account in found.items()] == [
        ("default", "Loja Centro"),
        ("norte", "norte"),
        ("a", "A"),
        ("b", "b"),
    ]
    assert found["a"] == conf.Account("a", "A", provider="z-api", instance="3E4F")


def test_the_secret_to_register_comes_first():
    older, newer = added(), accounts.new_secret("filial")
    assert accounts.secret_ids() == {
        "default": [secret_id(SECRET), secret_id(RETIRING_SECRET)],
        "norte": [secret_id(SECRET_OF_NORTE)],
        "filial": [secret_id(newer), secret_id(older)],
    }


def test_a_lazy_label_is_in_the_language_of_whoever_reads_it(plugchat):
    plugchat(ACCOUNTS={"default": {"LABEL": gettext_lazy("Home")}})
    for language, label in (("en", "Home"), ("pt-br", "Início"), ("en", "Home")):
        with translation.override(language):
            assert accounts.label("default") == accounts.labels()["default"] == label
            assert json.dumps(accounts.label("default"))


def test_labels_cost_a_statement_in_half_a_minute(clock, django_assert_num_queries):
    added(label="Filial Sul")
    accounts.add("other")
    clock(1)
    with django_assert_num_queries(1):
        for _row in range(100):
            shown = [accounts.label(alias) for alias in ("default", "filial", "other", "nobody")]
        assert shown == ["Loja Centro", "Filial Sul", "other", "nobody"]
        assert accounts.labels() == {
            "default": "Loja Centro",
            "norte": "norte",
            "filial": "Filial Sul",
            "other": "other",
        }
    Account.objects.get(alias="other").delete()
    assert "other" not in accounts.labels()


@pytest.mark.parametrize(
    ("alias", "why"),
    [
        ("", "blank"),
        (None, "null"),
        ("a" * 101, "100"),
        ("a\0", "printable"),
        ("\ud800", "printable"),
        (" a", "printable"),
        ("default", "of the settings"),
        ("filial", "already exists"),
    ],
)
def test_an_alias_that_no_new_account_can_have(alias, why):
    accounts.add("filial")
    with pytest.raises(ValueError, match=why):
        accounts.add(alias)
    assert Account.objects.count() == 1


def test_of_two_who_add_an_alias_at_once_one_is_told(monkeypatch):
    monkeypatch.setattr(Account, "full_clean", lambda row: None)
    accounts.add("filial")
    with pytest.raises(ValueError, match="this alias"):
        accounts.add("filial")
    assert Account.objects.count() == 1  # and the transaction around goes on


@pytest.mark.parametrize(
    ("options", "why"),
    [({"label": "a" * 201}, "200"), ({"provider": "other"}, "other")],
)
def test_an_account_that_can_not_be_kept(options, why):
    with pytest.raises(ValueError, match=why):
        accounts.add("filial", **options)


def test_a_secret_is_kept_as_its_digest():
    secret = added()
    row = WebhookSecret.objects.get()
    assert (row.digest, row.secret_id) == (digest_of(secret), secret_id(secret))
    assert len(secret) >= 24


def test_secrets_of_accounts_that_are_not_in_the_database():
    with pytest.raises(ValueError, match="no account"):
        accounts.new_secret("default")
    with pytest.raises(ValueError, match="no account"):
        accounts.retire("default", secret_id(SECRET))
    accounts.add("filial")
    with pytest.raises(ValueError, match="no secret"):
        accounts.retire("filial", secret_id(SECRET))


# Moving


def test_a_moved_account_keeps_its_alias_its_secrets_and_its_events(post, plugchat):
    post(EXAMPLE)
    accounts.move("default")
    # The settings win while both exist.
    ids = [secret_id(SECRET), secret_id(RETIRING_SECRET)]
    assert accounts.secret_ids()["default"] == ids
    Account.objects.update(label="Other", is_active=False)
    assert accounts.label("default") == accounts.all_accounts()["default"].label == "Loja Centro"
    assert post(EXAMPLE).json() == {"status": "duplicate"}

    Account.objects.update(is_active=True)
    plugchat(ACCOUNTS={})
    assert accounts.secret_ids() == {"default": ids}
    assert post(EXAMPLE).json() == post(EXAMPLE, url=url_of(RETIRING_SECRET)).json() == {"status": "duplicate"}


def test_moving_keeps_a_label_only_where_there_is_one():
    accounts.move("default")
    accounts.move("norte")
    assert list(Account.objects.values_list("alias", "label")) == [("default", "Loja Centro"), ("norte", "")]


def test_an_account_that_can_not_be_moved(plugchat):
    with pytest.raises(ValueError, match="no account"):
        accounts.move("nobody")
    plugchat(ACCOUNTS={"own": {"API_URL": "https://api.example.org"}})
    with pytest.raises(ValueError, match="API_URL"):
        accounts.move("own")
    plugchat(ACCOUNTS={"twice": {}})
    accounts.move("twice")
    with pytest.raises(ValueError, match="already exists"):
        accounts.move("twice")


# Tokens


def token_source(alias: str) -> Any:
    given: Any = {"text": "a token", "dict": {"TOKEN": "a token", "CLIENT_TOKEN": "another"}, "none": None, "list": [1]}
    return given[alias]


@pytest.mark.parametrize(
    ("alias", "token", "client_token"),
    [("text", "a token", "kept"), ("dict", "a token", "another"), ("none", "", "kept")],
)
def test_a_token_of_the_source(alias, token, client_token, plugchat):
    plugchat(TOKEN_SOURCE="tests.test_accounts.token_source")
    account = accounts.with_token(conf.Account(alias, alias, client_token="kept"))
    assert (account.token, account.client_token) == (token, client_token)


def test_a_token_of_its_own_is_not_asked_for(plugchat):
    account = conf.Account("default", "default", token="own")
    assert accounts.with_token(account) is account
    plugchat(TOKEN_SOURCE="tests.test_accounts.token_source")
    assert accounts.with_token(account) is account


@pytest.mark.parametrize(("alias", "why"), [("list", "TypeError"), ("secret alias", "KeyError")])
def test_a_source_that_fails(alias, why, plugchat):
    plugchat(TOKEN_SOURCE="tests.test_accounts.token_source")
    with pytest.raises(ValueError, match=why):
        accounts.with_token(conf.Account(alias, alias))
