"""tests.settings with another API, which is told in the environment."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import PLUGCHAT

PLUGCHAT |= {"API_URL": os.environ["API_URL"]}
