"""What people type or paste, and what it finds."""

import logging

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_plugchat.admin.search import MAX_NUMBERS_UNSEEN, MAX_TERMS, terms

from .people import EVENTS
from .rows import event, events, status

pytestmark = pytest.mark.django_db

ZAAP_ID = "A20DA9C0183A2D35A260F53F5D2B9244"


def test_what_is_pasted_is_bounded():
    assert len(terms(" ".join(f"id-{number}" for number in range(5000)))) == MAX_TERMS


def found(client, typed, **query):
    response = client.get(EVENTS, {"q": typed, **query})
    assert response.status_code == 200
    return {row.zaap_id or row.message_id for row in response.context["cl"].result_list}


@pytest.mark.parametrize("who", ["viewer", "trusted"])
@pytest.mark.parametrize(
    "typed",
    [
        ZAAP_ID,
        ZAAP_ID.lower(),
        f" {ZAAP_ID} ",
        "order-7",
        "#order-7",
        '"order-7"',
        "nothing order-7",
        "#123 #order-7",
        "3EB0EE5C811ACA0277C307",
        "554499999999",
        "5544999999999",
        "+55 (44) 9999-9999",
        "+55 (44) 99999-9999",
        "\u202a+55\u00a044\u00a099999\u20119999\u202c",
        "44 99999999",
        "(44) 99999-9999",
        "044 99999-9999",
        "+1 415 555 0123 +55 44 99999-9999",
        "https://wa.me/5544999999999",
    ],
)
def test_search_takes_what_a_person_has(request, who, typed):
    event(zaap_id=ZAAP_ID, custom_id="order-7", message_id="3EB0EE5C811ACA0277C307", phone="554499999999")
    event(zaap_id="OTHER", custom_id="44", phone="554488888888")
    assert found(request.getfixturevalue(who), typed) == {ZAAP_ID}


@pytest.mark.parametrize(
    ("phone", "typed"),
    [
        ("120363019502650977-group", "120363019502650977-group"),
        ("120363019502650977-group", "120363019502650977"),
        ("270497728188446@lid", "270497728188446"),
        ("270497728188446", "270497728188446@lid"),
        ("1774895799-broadcast", "1774895799-broadcast"),
        ("14155550123", "+1 415 555-0123"),
        ("5544999999999", "554499999999"),
        ("+55 (44) 99999-9999", "44999999999"),
    ],
)
def test_search_finds_groups_and_numbers_however_they_came(viewer, phone, typed):
    event(zaap_id="IT", phone=phone)
    assert found(viewer, typed) == {"IT"}


def test_several_ids_are_found_at_once(viewer):
    for number in range(121, 127):
        event(zaap_id=f"Z{number}", custom_id=str(number))
    assert found(viewer, "122, 124;125\n126") == {"Z122", "Z124", "Z125", "Z126"}


def test_an_id_that_has_a_separator_is_found_as_a_whole(viewer):
    event(zaap_id="IT", custom_id="order 7; second try")
    assert found(viewer, "order 7; second try") == {"IT"}


def test_a_search_looks_at_everything(viewer):
    """The delivery callback of a message may have been lost."""
    event(zaap_id="OTHER", phone="554488888888")
    status("read", "LOST", phone="5544999999999")
    status("read", "IN-GROUP", phone="120363019502650977-group", participant="5544999999999")
    assert found(viewer, "(44) 99999-9999") == {"LOST", "IN-GROUP"}
    assert found(viewer, "(44) 99999-9999", situation="received") == set()


@pytest.mark.parametrize("typed", ["", "  "])
def test_a_blank_search_shows_all(viewer, typed):
    event(zaap_id="IT", custom_id="")
    assert found(viewer, typed) == {"IT"}


@pytest.mark.parametrize("typed", ["99999999", "9999", "4499", "+55 ****99", "99999-9999", "#"])
def test_a_part_of_a_number_finds_nothing(viewer, trusted, typed):
    event(zaap_id="IT", phone="5544999999999", custom_id="")
    assert found(viewer, typed) == found(trusted, typed) == set()


def test_who_may_not_see_numbers_is_logged_when_searching_for_one(viewer, trusted, caplog):
    event()
    with caplog.at_level(logging.INFO, logger="django_plugchat.admin"):
        found(viewer, "(44) 99999-9999")
        found(viewer, "order-7")
        found(trusted, "(44) 99999-9999")
    assert caplog.messages == ["person-0 searched for phone numbers: 1."]


def test_who_may_not_see_numbers_searches_for_a_few_at_once(viewer, trusted, caplog):
    phones = [f"55449999900{number:02}" for number in range(20)]
    for phone in phones:
        event(zaap_id=f"Z{phone}", phone=phone, custom_id="")
    typed = ", ".join(phones)
    assert len(found(trusted, typed)) == len(phones)
    with caplog.at_level(logging.INFO, logger="django_plugchat.admin"):
        assert len(found(viewer, typed)) == MAX_NUMBERS_UNSEEN
    assert caplog.messages[-1].endswith(f"numbers: {MAX_NUMBERS_UNSEEN}.")


@pytest.mark.parametrize("name", ["zaap_id", "custom_id", "message_id"])
@pytest.mark.parametrize("form", ["{}", "order-{}", "true_{}@c.us"])
def test_numbers_in_ids_count_as_well(viewer, trusted, name, form):
    ids = [form.format(f"55449999900{number:02}") for number in range(20)]
    for id_ in ids:
        event(**{"phone": "120363019502650977-group", name: id_})
    assert found(viewer, ", ".join(ids)) < found(trusted, ", ".join(ids))
    assert len(found(viewer, ", ".join(ids))) == MAX_NUMBERS_UNSEEN


def test_ids_that_hold_no_number_do_not_count(viewer, caplog):
    ids = [f"A20DA9C0183A2D35A260F53F5D2B92{number}" for number in range(20, 40)]
    for id_ in ids:
        event(zaap_id=id_)
    with caplog.at_level(logging.INFO, logger="django_plugchat.admin"):
        assert len(found(viewer, "\n".join(ids))) == len(ids)
    assert caplog.messages == []


def test_search_walks_along_indexes(viewer):
    events(3000)
    with connection.cursor() as cursor:
        cursor.execute({"postgresql": "ANALYZE"}.get(connection.vendor, "SELECT 1"))
    with CaptureQueriesContext(connection) as queries:
        response = viewer.get(EVENTS, {"q": "554499998888"})
    plan = response.context["cl"].queryset[:100].explain()
    for column in ("zaap_id", "custom_id", "message_id", "phone", "participant"):
        assert f"plugchat_event_{column}" in plan
    searches = [query["sql"] for query in queries if "554499998888" in query["sql"]]
    assert searches
    for sql in searches:
        assert "UPPER(" not in sql
        assert "LIKE" not in sql
