"""tests.settings behind a middleware that reads each body after the view, as a log of requests does."""

from tests.settings import *  # noqa: F403
from tests.settings import MIDDLEWARE

MIDDLEWARE = ["tests.stacks.middleware.read_after", *MIDDLEWARE]
