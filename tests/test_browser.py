"""A day with the admin in a real browser. Needs Chromium and its driver: ``pytest -m browser``."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from django_plugchat.models import DeliveryEvent, RejectedCallback

from .conftest import EXAMPLE
from .rows import event, rejected

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    program = next(filter(None, map(shutil.which, NAMES)), None)
    driver = shutil.which("chromedriver")
    # Selenium would fetch what is missing from the network.
    assert program, f"None of {NAMES} is installed."
    assert driver, "chromedriver is not installed."
    options.binary_location = program
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1280,1000",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path / "downloads")})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield browser
    browser.quit()


@pytest.fixture
def wait(browser):
    # A page may change between finding an element and reading it.
    return WebDriverWait(browser, 30, ignored_exceptions=[StaleElementReferenceException]).until


@pytest.fixture
def log_in(browser, live_server, wait):
    def log_in(*permissions):
        user = User.objects.create_user("ana", password="secret-of-ana", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        browser.get(f"{live_server.url}/admin/")
        browser.find_element(By.NAME, "username").send_keys("ana")
        browser.find_element(By.NAME, "password").send_keys("secret-of-ana")
        browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()
        wait(lambda b: "Log out" in b.page_source)

    return log_in


def text(browser):
    return browser.find_element(By.TAG_NAME, "body").text


def test_a_day_of_support(browser, live_server, log_in, wait, tmp_path):
    failed = event(
        phone="554499999999", zaap_id="SAME", outcome="failed", error="Timeout on send message", payload=dict(EXAMPLE)
    )
    event(phone="5544999999999", zaap_id="SAME", custom_id="order-7")
    event(phone="554488887777", zaap_id="OTHER")
    rejected(json.dumps(EXAMPLE | {"zaapId": "REPLAYED"}).encode())
    log_in(
        *("view_deliveryevent", "view_rejectedcallback", "view_phone"),
        *("export_deliveryevent", "replay_rejectedcallback"),
    )

    browser.find_element(By.LINK_TEXT, "Delivery events").click()
    wait(lambda b: "Select delivery event to view" in text(b))
    assert "+55 44 8888-7777" in text(browser)

    # The customer's number, as the customer writes it.
    browser.find_element(By.ID, "searchbar").send_keys("(44) 99999-9999\n")
    wait(lambda b: "2 results" in text(b))
    assert "+55 44 8888-7777" not in text(browser)

    frame = browser.find_element(By.CSS_SELECTOR, "iframe.plugchat-chart")
    browser.switch_to.frame(frame)
    wait(lambda b: b.find_elements(By.CSS_SELECTOR, "svg rect.plugchat-bar-sent"))
    bar = browser.find_element(By.CSS_SELECTOR, "svg rect.plugchat-bar-sent")
    assert bar.size["height"] > 20
    assert "1 Timeout on send message" in text(browser)
    browser.switch_to.default_content()

    browser.find_element(By.LINK_TEXT, "Export all as CSV").click()
    wait(lambda b: list((tmp_path / "downloads").glob("plugchat-*.csv")))
    (file,) = (tmp_path / "downloads").glob("plugchat-*.csv")
    assert file.read_text("utf-8-sig").count(";SAME;") == 2

    browser.find_element(By.CSS_SELECTOR, f"#result_list a[href*='/{failed.pk}/change/']").click()
    wait(lambda b: "All that was said about this message" in text(b))
    assert "WhatsApp did not answer in time." in text(browser)
    assert '"customId": "123"' in text(browser)
    story = browser.find_elements(By.CSS_SELECTOR, ".plugchat-story tbody tr")
    assert ["Not sent" in story[0].text, "Handed to WhatsApp" in story[1].text, len(story)] == [True, True, 2]

    browser.find_element(By.LINK_TEXT, "Rejected callbacks").click()
    wait(lambda b: "Select rejected callback to view" in text(b))
    browser.find_element(By.CSS_SELECTOR, "#result_list tbody th a").click()
    wait(lambda b: "REPLAYED" in text(b))
    browser.find_element(By.XPATH, "//button[text()='Replay']").click()
    wait(lambda b: "1 callback is now an event." in text(b))
    assert not RejectedCallback.objects.exists()
    assert DeliveryEvent.objects.filter(zaap_id="REPLAYED").exists()
    complaints = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert [message for message in complaints if "/favicon.ico" not in message] == []


def test_filters_work_together(browser, live_server, log_in, wait):
    event(zaap_id="NOW")
    event(zaap_id="NOW-FAILED", outcome="failed")
    event(zaap_id="OLD", received_at=timezone.now() - timedelta(days=40))
    log_in("view_deliveryevent")
    browser.get(f"{live_server.url}/admin/django_plugchat/deliveryevent/")
    assert "OLD" in text(browser)
    browser.find_element(By.LINK_TEXT, "Handed to WhatsApp").click()
    wait(lambda b: "NOW-FAILED" not in text(b))
    day = timezone.localdate().isoformat()
    browser.execute_script("document.querySelector('[name=received_from]').value = arguments[0]", day)
    browser.find_element(By.CSS_SELECTOR, ".plugchat-range button").click()
    wait(lambda b: "OLD" not in text(b))
    assert "NOW" in text(browser)
    assert "NOW-FAILED" not in text(browser)
    assert "****-9999" in text(browser)


@pytest.mark.parametrize("page", ["", "{}/change/"])
def test_no_page_is_wider_than_a_phone(browser, live_server, log_in, page):
    row = event(zaap_id="A" * 64, custom_id="b" * 200, payload={"long": "c" * 500})
    log_in("view_deliveryevent")
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    browser.get(f"{live_server.url}/admin/django_plugchat/deliveryevent/{page.format(row.pk)}")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


def test_a_dark_page_is_readable(browser, live_server, log_in, wait):
    event(outcome="failed")
    log_in("view_deliveryevent")
    browser.execute_script("localStorage.setItem('theme', 'dark')")
    browser.get(f"{live_server.url}/admin/django_plugchat/deliveryevent/")
    browser.switch_to.frame(browser.find_element(By.CSS_SELECTOR, "iframe.plugchat-chart"))
    wait(lambda b: b.find_elements(By.CSS_SELECTOR, "svg"))
    dark = "return getComputedStyle(document.body).backgroundColor"
    wait(lambda b: b.execute_script(dark) == "rgb(18, 18, 18)")
