"""tests.settings behind a middleware that reads each body after the view, as a log of requests does.

With POOL, each process shares a few connections; otherwise a connection ends with its request.
"""

import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, MIDDLEWARE

MIDDLEWARE = ["tests.stacks.middleware.read_after", *MIDDLEWARE]
if "POOL" in os.environ:
    DATABASES["default"].setdefault("OPTIONS", {})["pool"] = {"min_size": 1, "max_size": 4}
