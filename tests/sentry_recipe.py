"""Runs what the documentation shows of Sentry, and prints what it would send of errors about a callback and elsewhere.

For a process of its own, since Sentry patches Django for good.
"""

import json
import logging
import runpy
import sys

import django
import sentry_sdk
from django.test import override_settings

from .payloads import EXAMPLE, URL
from .sentry_project import CapturingTransport, RaisingMiddleware, elsewhere, request


def main(path: str) -> None:
    django.setup()
    runpy.run_path(path)
    client = sentry_sdk.get_client()
    transport = client.transport = CapturingTransport()
    client.options["traces_sample_rate"] = 1.0
    with override_settings(MIDDLEWARE=[f"{RaisingMiddleware.__module__}.{RaisingMiddleware.__name__}"]):
        request("POST", URL)
    elsewhere(EXAMPLE["phone"])
    sentry_sdk.flush()
    logging.disable()
    json.dump(transport.sent, sys.stdout)


main(*sys.argv[1:])
