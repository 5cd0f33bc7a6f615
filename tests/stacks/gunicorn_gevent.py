# First of all: the logging filter, which gunicorn loads before its worker patches, imports Django.
from gevent import monkey

monkey.patch_all()

from tests.gunicorn_conf import logconfig_dict  # noqa: E402, F401
