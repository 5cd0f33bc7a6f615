"""Chromium, the site of the tests beside it, and what a person does with both."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.test import Client, override_settings
from pytest_django.live_server_helper import LiveServer
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

LAPTOP, PHONE = 1366, 390
LIGHT, DARK = "light", "dark"
PERMISSIONS = (
    *("view_deliveryevent", "delete_deliveryevent", "export_deliveryevent", "redispatch_deliveryevent", "view_phone"),
    *("view_rejectedcallback", "delete_rejectedcallback", "replay_rejectedcallback", "view_registration"),
)

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # Days and months in the order of the page's language: the browser itself may speak no other than English.
    "--enable-blink-features=LangAttributeAwareFormControlUI",
)
# A change of theme fades in; what is judged halfway has colours that nobody reads. Without ``preload`` axe makes no
# stylesheets of its own, which the policy would keep out.
_AXE = """
    const done = arguments[arguments.length - 1];
    for (const details of document.querySelectorAll("details")) details.open = true;
    Promise.all(document.getAnimations().map(animation => animation.finished))
        .then(() => axe.run({preload: false, resultTypes: ["violations"]}))
        .then(found => done(found.violations), error => done([{id: String(error), nodes: []}]));
"""
_WIDER_THAN_ITS_BOX = """
    const cards = ".results, .plugchat-section, .plugchat-account, .plugchat-confirm, .plugchat-empty";
    return [document.documentElement, ...document.querySelectorAll(cards)]
        .filter(box => box.scrollWidth > box.clientWidth)
        .map(box => `${box.className || "page"}: ${box.scrollWidth} > ${box.clientWidth}`);
"""
_IS_ANOTHER_PAGE = "return !window.isLeft && document.readyState === 'complete'"
_MATCHES = "return arguments[0].matches(arguments[1])"
_CONTROLS = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']"


class Browser(webdriver.Chrome):
    """A window whose visitor is logged in to the site at ``url``."""

    def __init__(self, folder: Path, url: str, language: str = "en") -> None:
        program, driver = next(filter(None, map(shutil.which, _PROGRAMS)), None), shutil.which("chromedriver")
        # Selenium would fetch what is missing from the network.
        assert program, f"None of {_PROGRAMS} is installed."
        assert driver, "chromedriver is not installed."
        options = webdriver.ChromeOptions()
        options.binary_location = program
        for argument in (*_ARGUMENTS, f"--user-data-dir={folder / 'profile'}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.downloads = folder / "downloads"
        options.add_experimental_option(
            "prefs", {"download.default_directory": str(self.downloads), "intl.accept_languages": language}
        )
        super().__init__(options=options, service=webdriver.ChromeService(driver))
        self.url = url
        self.look(LAPTOP)

    def log_in(self, user: User) -> None:
        client = Client()
        client.force_login(user)
        self._set_cookie(settings.SESSION_COOKIE_NAME, client.cookies[settings.SESSION_COOKIE_NAME].value)

    def speak(self, language: str) -> None:
        self._set_cookie(settings.LANGUAGE_COOKIE_NAME, language)

    def _set_cookie(self, name: str, value: str) -> None:
        self.execute_cdp_cmd("Network.setCookie", {"name": name, "value": value, "url": self.url})

    def look(self, width: int, theme: str = LIGHT, height: int = 900) -> None:
        """Through a window of this width, in this theme."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width == PHONE}
        self.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, path: str) -> None:
        self.get(self.url + path)

    @contextmanager
    def next_page(self) -> Iterator[None]:
        """Wait until what is done here has led to another page."""
        self.execute_script("window.isLeft = true")
        yield
        self.wait(lambda browser: browser.execute_script(_IS_ANOTHER_PAGE))

    @property
    def text(self) -> str:
        return self.find("body").text

    def find(self, selector: str) -> WebElement:
        return self.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, condition: Callable[[Self], Any]) -> Any:
        # A page may go between finding an element and reading it.
        return WebDriverWait(self, 30, ignored_exceptions=[WebDriverException]).until(condition)

    def click(self, selector: str) -> None:
        self.find(selector).click()

    # With the keyboard alone

    def press(self, *keys: str) -> None:
        ActionChains(self).send_keys(*keys).perform()

    def tab_to(self, selector: str) -> WebElement:
        """Press Tab until this has the focus."""

        def pressed(browser: Self) -> WebElement | None:
            browser.press(Keys.TAB)
            focused = browser.switch_to.active_element
            return focused if browser.execute_script(_MATCHES, focused, selector) else None

        return WebDriverWait(self, 60, poll_frequency=0.001).until(pressed)

    def beyond_tab(self) -> list[str]:
        """What can be clicked and Tab never reaches, or reaches without showing it."""
        count = self.execute_script(
            """
            for (const details of document.querySelectorAll("details")) details.open = true;
            window.unreached = new Set([...document.querySelectorAll(arguments[0])].filter(
                control => control.checkVisibility({visibilityProperty: true}) && !control.disabled));
            document.addEventListener("focusin", ({target}) => {
                if (getComputedStyle(target).outlineStyle !== "none" || !target.matches("[class^=plugchat-]"))
                    window.unreached.delete(target);
            });
            return window.unreached.size;
            """,
            _CONTROLS,
        )
        # A field for a date takes several.
        self.press(Keys.TAB * (count + 20))
        return list(self.execute_script("return [...window.unreached].map(control => control.outerHTML)"))

    # What is wrong with a page

    def violations(self) -> list[str]:
        """What axe-core finds."""
        if not self.execute_script("return Boolean(window.axe)"):
            self.execute_script((files("axe_selenium_python") / "node_modules/axe-core/axe.min.js").read_text("utf-8"))
        return [
            f"{rule['id']}: {node['html']} {node['failureSummary']}"
            for rule in self.execute_async_script(_AXE)
            for node in rule["nodes"]
        ]

    def wider_than_its_box(self) -> list[str]:
        """Boxes out of which something juts: the window, a list, a card."""
        return list(self.execute_script(_WIDER_THAN_ITS_BOX))

    def complaints(self) -> list[str]:
        """The console's errors since it was asked last: what failed, what is missing, what the policy keeps out."""
        entries = [entry["message"] for entry in self.get_log("browser") if entry["level"] == "SEVERE"]
        return [message for message in entries if "/favicon.ico" not in message]


def strict_policy(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware: a page may load, run and show only what this site serves as files of their own."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        response["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
        return response

    return middleware


@contextmanager
def opened(folder: Path, language: str = "en") -> Iterator[Browser]:
    """A browser, and a server for it; whoever uses it sees to the database."""
    with override_settings(MIDDLEWARE=["tests.browser.strict_policy", *settings.MIDDLEWARE]):
        server = LiveServer("127.0.0.1")
        try:
            browser = Browser(folder, server.url, language)
            try:
                yield browser
            finally:
                browser.quit()
        finally:
            server.stop()


def support_lead(*, whole_phones: bool = True) -> User:
    user = User.objects.create_user("ana", is_staff=True)
    wanted = Permission.objects.filter(codename__in=PERMISSIONS)
    user.user_permissions.set(wanted if whole_phones else wanted.exclude(codename="view_phone"))
    return user
