"""The admin's pages in a real browser: for everybody, in every width and theme, and under a strict policy.

Needs Chromium and its driver: ``pytest -m browser``.
"""

import json
import struct
import subprocess
import sys
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest
from django.urls import reverse
from django.utils import timezone
from selenium.webdriver.common.keys import Keys

from django_plugchat.models import DeliveryEvent, Registration, RejectedCallback

from . import browser as browsers
from .browser import DARK, LAPTOP, LIGHT, PHONE
from .payloads import EXAMPLE
from .receivers import Receiver, connected
from .rows import event, rejected, status

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

Status = DeliveryEvent.DispatchStatus
EVENTS = "admin:django_plugchat_deliveryevent"
REJECTED = "admin:django_plugchat_rejectedcallback"
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    with browsers.opened(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def browser(window):
    window.log_in(browsers.support_lead())
    window.look(LAPTOP)
    window.speak("en")
    yield window
    assert window.complaints() == []


@pytest.fixture
def rows():
    """Something of everything that the pages show, some of it as long as it may be."""
    now = timezone.now()
    event(zaap_id="READ", message_id="M", custom_id="order-7", times_received=3, payload=dict(EXAMPLE))
    for minutes, outcome in enumerate(("received", "read", "played")):
        status(outcome, "M", occurred_at=now + timedelta(minutes=minutes))
    event(zaap_id="G", message_id="G", phone="120363019502650977-group")
    for outcome, participant in (("received", "5511999999999"), ("played", "5521988888888")):
        status(outcome, "G", phone="120363019502650977-group", participant=participant)
    event(zaap_id="FAILED", custom_id="order-7", outcome="failed", error="Phone number does not exist")
    event(zaap_id="A" * 255, custom_id="b" * 255, outcome="failed", error="c" * 500, payload={"long": "d" * 500})
    for dispatch_status in Status:
        event(dispatch_status=dispatch_status, dispatch_due_at=now, dispatch_attempts=2, dispatch_error="mail: OSError")
    body = json.dumps({"phone": "5544999999999", "long": "e" * 500}).encode()
    rejected(body, errors={"zaapId": ["required"], "type": ["blank"]}, times_received=2)
    rejected(b"\xff" * 500, reason=RejectedCallback.Reason.NOT_JSON, account="norte")
    Registration.objects.create(account="default", webhook="delivery", secret_id="0" * 8, registered_at=now)


def address(name, **lookups):
    """Of a page, and of the row that these find."""
    models = {EVENTS: DeliveryEvent, REJECTED: RejectedCallback}
    model = models.get(name.rpartition("_")[0])
    return reverse(name, args=[model.objects.get(**lookups).pk] if model and lookups else [])


#: The address of each page, and where it is one that asks first, the action of the list there that leads to it.
PAGES = {
    "index": lambda: address("admin:index"),
    "app": lambda: reverse("admin:app_list", args=["django_plugchat"]),
    "messages": lambda: address(f"{EVENTS}_changelist"),
    "messages, everything": lambda: address(f"{EVENTS}_changelist") + "?received=7&situation=failed",
    "messages, nothing found": lambda: address(f"{EVENTS}_changelist") + "?q=nothing&account=default",
    "message read": lambda: address(f"{EVENTS}_change", zaap_id="READ"),
    "message to a group": lambda: address(f"{EVENTS}_change", zaap_id="G"),
    "message failed": lambda: address(f"{EVENTS}_change", zaap_id="FAILED"),
    "message with long ids": lambda: address(f"{EVENTS}_change", zaap_id="A" * 255),
    "message, its deletion": lambda: address(f"{EVENTS}_delete", zaap_id="READ"),
    "messages, their deletion": lambda: (address(f"{EVENTS}_changelist"), "delete_selected"),
    "messages, dispatch again": lambda: (address(f"{EVENTS}_changelist"), "redispatch"),
    "chart": lambda: address(f"{EVENTS}_chart") + "?situation=failed",
    "rejected callbacks": lambda: address(f"{REJECTED}_changelist"),
    "rejected callbacks, replay": lambda: (address(f"{REJECTED}_changelist"), "replay"),
    "rejected callback": lambda: address(f"{REJECTED}_change", reason="invalid"),
    "rejected bytes": lambda: address(f"{REJECTED}_change", reason="not_json"),
    "overview": lambda: address("admin:django_plugchat_connection_changelist"),
}


def open_page(browser, page):
    match PAGES[page]():
        case path, action:
            browser.open(path)
            with connected(Receiver()), browser.next_page():
                browser.click("#action-toggle")
                browser.click(f"[name=action] option[value={action}]")
                browser.click("#changelist-form button[name=index]")
            assert browser.all(".plugchat-confirm")
        case path:
            browser.open(path)


def findings(browser):
    """What is wrong with a page, in each width and theme."""
    found = []
    for width, theme in product((LAPTOP, PHONE), (LIGHT, DARK)):
        browser.look(width, theme)
        wrong = [*browser.violations(), *browser.wider_than_its_box()]
        found += [(width, theme, text) for text in wrong]
    return found


@pytest.mark.parametrize("language", ["en", "pt-br"])
@pytest.mark.parametrize("page", PAGES)
def test_everybody_can_use_it_at_any_width(browser, rows, page, language):
    """axe-core finds nothing, and nothing is wider than its card or the window, beside Django's open sidebar too."""
    browser.speak(language)
    open_page(browser, page)
    assert browser.find("html").get_attribute("lang") == language
    assert browser.all("#main.shifted") or page in {"index", "app"}
    assert findings(browser) == []


@pytest.mark.parametrize("page", ["messages", "chart", "rejected callbacks", "overview"])
def test_a_new_site_is_for_everybody_too(browser, page):
    open_page(browser, page)
    assert findings(browser) == []


@pytest.mark.parametrize("page", PAGES)
def test_tab_reaches_all_that_can_be_used(browser, rows, page):
    open_page(browser, page)
    assert browser.beyond_tab() == []


def test_the_keyboard_finds_a_message_and_dispatches_it_again(browser, rows):
    browser.open(reverse("admin:index"))
    browser.tab_to(f"#content a[href='{reverse(f'{EVENTS}_changelist')}']")
    with browser.next_page():
        browser.press(Keys.ENTER)
    browser.tab_to("#searchbar")
    with browser.next_page():
        browser.press("failed", Keys.ENTER)
    browser.tab_to("#result_list tbody th a")
    with browser.next_page():
        browser.press(Keys.ENTER)

    browser.tab_to(".plugchat-copy")
    browser.press(Keys.ENTER)
    # Where the clipboard may not be written, what is copied is selected.
    browser.wait(lambda b: "FAILED" in b.find(".plugchat-copied").text + b.execute_script("return `${getSelection()}`"))
    browser.tab_to("details > summary")
    browser.press(Keys.ENTER)
    browser.tab_to("details[open] button")
    with connected(Receiver()):
        with browser.next_page():
            browser.press(Keys.ENTER)
        browser.tab_to(".plugchat-confirm button")
        with browser.next_page():
            browser.press(Keys.SPACE)
    assert DeliveryEvent.objects.get(zaap_id="FAILED").dispatch_status == Status.PENDING
    assert "1 event is due again" in browser.text


def test_the_keyboard_filters_by_days(browser):
    event(zaap_id="NEW", custom_id="new")
    event(zaap_id="OLD", custom_id="old", received_at=timezone.now() - timedelta(days=40))
    browser.open(reverse(f"{EVENTS}_changelist") + "?situation=sent")
    assert {"new", "old"} <= set(browser.text.split())
    browser.tab_to("[name=received_from]")
    browser.press(f"{timezone.localdate():%m%d%Y}")
    browser.tab_to(".plugchat-range button")
    with browser.next_page():
        browser.press(Keys.ENTER)
    assert {"new", "old"} & set(browser.text.split()) == {"new"}
    assert "situation=sent" in browser.current_url


def test_the_keyboard_replays_what_was_refused(browser):
    refused = rejected(json.dumps(EXAMPLE).encode())
    browser.open(reverse(f"{REJECTED}_change", args=[refused.pk]))
    browser.tab_to("button.plugchat-button-main")
    with browser.next_page():
        browser.press(Keys.ENTER)
    browser.tab_to(".plugchat-confirm button")
    with browser.next_page():
        browser.press(Keys.ENTER)
    assert "1 callback is now an event" in browser.text
    assert DeliveryEvent.objects.get().zaap_id == EXAMPLE["zaapId"]


def test_the_keyboard_deletes_rows(browser):
    event(zaap_id="KEPT")
    event(zaap_id="DELETED")
    browser.open(reverse(f"{EVENTS}_changelist"))
    browser.tab_to("#result_list tbody input")
    browser.press(Keys.SPACE)
    browser.tab_to("[name=action]")
    browser.press("Delete")
    browser.tab_to("button[name=index]")
    with browser.next_page():
        browser.press(Keys.ENTER)
    browser.tab_to(".plugchat-confirm button")
    with browser.next_page():
        browser.press(Keys.ENTER)
    assert DeliveryEvent.objects.get().zaap_id == "KEPT"


@pytest.fixture
def without_scripts(browser):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    yield browser
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_it_works_without_scripts(without_scripts, rows):
    browser = without_scripts
    browser.open(reverse(f"{EVENTS}_changelist"))
    with browser.next_page():
        browser.find("#searchbar").send_keys("failed\n")
    with browser.next_page():
        browser.click("#result_list tbody th a")
    assert not browser.find(".plugchat-copy").is_displayed()
    browser.click("details > summary")
    with connected(Receiver()):
        with browser.next_page():
            browser.click("details[open] button")
        with browser.next_page():
            browser.click(".plugchat-confirm button")
    assert "1 event is due again" in browser.text
    browser.open(reverse(f"{EVENTS}_chart"))
    assert browser.find("svg .plugchat-bar-sent").size["height"] > 20


def test_the_pictures_of_the_documentation_are_made(tmp_path):
    """In processes of their own: the demo has other settings."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.pictures", str(tmp_path)], cwd=ROOT, capture_output=True, encoding="utf-8"
    )
    assert run.returncode == 0, run.stderr
    pictures = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(pictures) == ["list.en.png", "list.pt-br.png", "message.en.png", "message.pt-br.png"]
    # In its header a PNG has its width at this place.
    assert {struct.unpack(">I", png[16:20]) for png in pictures.values()} == {(LAPTOP,)}
    assert max(map(len, pictures.values())) < 150_000
