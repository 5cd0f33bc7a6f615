"""What having the app installed costs a process: time to start, and memory. See README.md."""

import argparse
import os
import subprocess
import sys
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.report import goals, progress, say, spread, table

#: A site with the admin and a DRF view, up to where it could answer.
SITE = """
import resource, sys, time, types
from django.conf import settings

installed = sys.argv[1:]
contrib = ["admin", "auth", "contenttypes", "sessions", "messages", "staticfiles"]
settings.configure(
    INSTALLED_APPS=[*(f"django.contrib.{name}" for name in contrib), *installed],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    MIDDLEWARE=[],
    ROOT_URLCONF="urls",
    SECRET_KEY="benchmarks",
)
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
from django.contrib import admin
from django.urls import get_resolver, include, path
from rest_framework import exceptions, negotiation, renderers, request, response, serializers, views

urls = sys.modules["urls"] = types.ModuleType("urls")
urls.urlpatterns = [path("admin/", admin.site.urls), *(path(f"{app}/", include(f"{app}.urls")) for app in installed)]
get_resolver().url_patterns
print(time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def start(environ: dict[str, str], *installed: str) -> tuple[float, float]:
    """Milliseconds of processor time, and megabytes."""
    command = [sys.executable, "-c", SITE, *installed]
    output = subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds, kilobytes = output.split()
    return float(seconds) * 1000, float(kilobytes) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    without, with_it = [], []
    with TemporaryDirectory(prefix="plugchat-benchmark-") as folder:
        # Bytecode is kept, as on a server, whatever this environment says.
        environ = os.environ | {"PYTHONPYCACHEPREFIX": folder}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        for number in range(options.rounds + 1):
            results = start(environ), start(environ, "django_plugchat")
            if number:  # the first compiles
                without.append(results[0])
                with_it.append(results[1])
            if number % 20 == 0:
                progress(f"  {number} rounds")
    times = [[result[0] for result in results] for results in (without, with_it)]
    memory = [[result[1] for result in results] for results in (without, with_it)]
    added = [median(with_app) - median(without_app) for without_app, with_app in (times, memory)]
    say("# A process of a site with the admin and Django REST framework")
    say()
    table(
        ["", "without the app", "with it", "added"],
        [
            ("ms of processor time to start", spread(times[0], 1), spread(times[1], 1), f"{added[0]:.1f}"),
            ("MB of memory", spread(memory[0], 1), spread(memory[1], 1), f"{added[1]:.1f}"),
        ],
    )
    goals(
        [
            ("Milliseconds added to the start", added[0], "≤", 10),
            ("Megabytes added", added[1], "≤", 3),
        ]
    )


if __name__ == "__main__":
    main()
