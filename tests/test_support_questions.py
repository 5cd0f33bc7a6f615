"""What people in support are asked, each answered in at most three steps from the admin's first page, in Portuguese."""

import csv
from datetime import timedelta

import pytest
from django.utils import timezone, translation
from django.utils.text import capfirst
from selenium.webdriver.common.by import By

from django_plugchat import testing
from django_plugchat.models import DeliveryEvent, RejectedCallback
from django_plugchat.provider.errors import Failure

from . import browser as browsers

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

Outcome = DeliveryEvent.Outcome
THE_CUSTOMER = "554499999999"  # WhatsApp knows many numbers without the ninth digit that people write
THE_READER = "5511988887777"


def fill():
    """A week of callbacks, as PlugChat posts them."""

    def post(**fields):
        assert testing.post_callback(**fields).status_code == 200

    def status(outcome, message_id, **fields):
        callback = testing.message_status_callback(phone=THE_READER, status=outcome, ids=[message_id], **fields)
        assert testing.post_callback(callback).status_code == 200

    post(phone="5544977776666", customId="long-ago", error="Timeout on send message")
    long_ago = timezone.now() - timedelta(days=10)
    DeliveryEvent.objects.update(received_at=long_ago, last_received_at=long_ago)
    post(phone="5544988887777", customId="order-5", error="Timeout on send message")
    days_ago = timezone.now() - timedelta(days=3)
    DeliveryEvent.objects.filter(custom_id="order-5").update(received_at=days_ago, last_received_at=days_ago)
    post(phone=THE_CUSTOMER, customId="order-7", error="Phone number does not exist")
    for custom_id in ("order-3", "order-4"):
        post(phone="5544966665555", customId=custom_id, messageId=custom_id)
        yesterday = timezone.now() - timedelta(days=1)
        DeliveryEvent.objects.filter(custom_id=custom_id).update(received_at=yesterday, last_received_at=yesterday)
    status("RECEIVED", "order-3")
    post(phone="5531999990000", customId="order-8", error="Phone number does not exist")
    post(phone="5531999990001", customId="order-9", error="Message not send caused by invalid media url")
    post(phone="5511977776666", customId="123")
    post(phone=THE_READER, messageId="3EB0EE5C811ACA0277C307")
    status("RECEIVED", "3EB0EE5C811ACA0277C307")
    status("READ", "3EB0EE5C811ACA0277C307")
    # Without a zaapId.
    refused = testing.delivery_callback(phone=THE_CUSTOMER, customId="order-6", zaapId="")
    assert testing.post_callback(refused).status_code == 400


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    with browsers.opened(tmp_path_factory.mktemp("browser"), "pt-BR") as browser:
        yield browser


class Person:
    """Somebody at the admin's first page. Each page that they ask for, or file, is a step."""

    def __init__(self, browser):
        self.browser, self.steps = browser, 0
        browser.open("/admin/")

    def follow(self, text):
        """A link, by what it reads in Portuguese."""
        with self._step():
            self._link(text).click()

    def download(self, text):
        self.steps += 1
        for earlier in self.browser.downloads.glob("*.csv"):
            earlier.unlink()
        self._link(text).click()
        (file,) = self.browser.wait(lambda browser: list(browser.downloads.glob("*.csv")))
        return file.read_text("utf-8-sig")

    def open_list(self, model):
        self.follow(capfirst(model._meta.verbose_name_plural))

    def search(self, typed):
        with self._step():
            self.browser.find("#searchbar").send_keys(f"{typed}\n")

    def open_row(self, number=0):
        with self._step():
            self.browser.all("#result_list tbody th a")[number].click()

    def _link(self, text):
        return self.browser.find_element(By.LINK_TEXT, str(text))

    def _step(self):
        self.steps += 1
        return self.browser.next_page()

    def rows(self):
        return [row.text for row in self.browser.all("#result_list tbody tr")]

    def reads(self, *texts):
        assert self.browser.find("html").get_attribute("lang") == "pt-br"
        shown = " ".join(self.browser.text.split())
        assert [text for text in texts if str(text) not in shown] == []
        assert self.steps <= 3


@pytest.fixture
def ana(window):
    fill()
    window.log_in(browsers.support_lead())
    # Whatever language the callbacks were answered in.
    with translation.override("pt-br"):
        yield Person(window)
    assert window.complaints() == []


def test_a_customer_says_he_got_nothing(ana):
    ana.open_list(DeliveryEvent)
    ana.search("(44) 99999-9999")
    (row,) = ana.rows()
    assert str(Outcome.FAILED.label) in row
    ana.open_row()
    ana.reads("+55 44 9999-9999", Failure.NUMBER.label, "Phone number does not exist", "order-7")


def test_how_many_failed_today_and_why(ana):
    ana.open_list(DeliveryEvent)
    ana.follow(translation.gettext("Chart"))
    ana.follow(translation.gettext("Today"))
    rows = [row.text for row in ana.browser.all("section tbody tr")]
    assert rows == [f"{Failure.NUMBER.label} 2", f"{Failure.MEDIA.label} 1"]
    ana.reads(f"{Outcome.FAILED.label}: 3")


@pytest.mark.parametrize("typed", ["123", "#123", " 123 "])
def test_order_123(ana, typed):
    ana.open_list(DeliveryEvent)
    ana.search(typed)
    (row,) = ana.rows()
    assert "+55 11 97777-6666" in row
    ana.reads(Outcome.SENT.label)


def test_the_failures_of_this_week_for_the_boss(ana):
    ana.open_list(DeliveryEvent)
    ana.follow(translation.gettext("Not sent in the last 7 days"))
    file = ana.download(translation.gettext("Export all as CSV"))
    lines = list(csv.DictReader(file.splitlines(), delimiter=";"))
    assert {line["customId"] for line in lines} == {"order-5", "order-7", "order-8", "order-9"}
    assert str(Failure.TEMPORARY.label) in lines[-1].values()
    ana.reads()


def test_what_was_sent_yesterday_and_nobody_received(ana):
    ana.open_list(DeliveryEvent)
    ana.follow(translation.gettext("Sent yesterday, not yet received"))
    (row,) = ana.rows()
    assert "order-4" in row
    ana.reads()


def test_the_week_as_a_file_for_the_boss(ana):
    ana.open_list(DeliveryEvent)
    ana.follow(translation.gettext("Last 7 days"))
    file = ana.download(translation.gettext("Export all as CSV"))
    lines = list(csv.DictReader(file.splitlines(), delimiter=";"))
    week = {line["customId"]: line for line in lines}
    assert {"order-3", "order-4", "order-5", "order-7"} <= week.keys()
    assert "long-ago" not in week
    assert str(Outcome.RECEIVED.label) in week["order-3"].values()
    ana.reads()


def test_did_she_read_it(ana):
    ana.open_list(DeliveryEvent)
    ana.search("11 98888-7777")
    assert str(Outcome.READ.label) in ana.rows()[0]
    ana.open_row()
    story = [pill.text for pill in ana.browser.all(".plugchat-step .plugchat-pill")]
    expected = (Outcome.SENT, Outcome.RECEIVED, Outcome.READ)
    assert [shown.endswith(str(outcome.label)) for shown, outcome in zip(story, expected, strict=True)] == [True] * 3
    ana.reads()


def test_what_was_refused_for_this_number(ana):
    ana.open_list(RejectedCallback)
    ana.search("(44) 99999-9999")
    assert len(ana.rows()) == 1
    ana.open_row()
    ana.reads("zaapId", "order-6", THE_CUSTOMER)


def test_nothing_found_says_what_that_can_mean(ana):
    ana.open_list(DeliveryEvent)
    ana.search("(44) 91234-5678")
    assert ana.rows() == []
    heard = ana.browser.find(".plugchat-empty time").get_attribute("datetime")
    newest = DeliveryEvent.objects.latest("received_at").received_at
    assert heard.startswith(newest.astimezone(timezone.get_current_timezone()).isoformat()[:16])
    ana.follow(translation.gettext("Look there"))
    # The search goes along.
    assert ana.browser.find("#searchbar").get_attribute("value") == "(44) 91234-5678"
    ana.reads()
