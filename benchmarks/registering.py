"""How long it takes to register many accounts, and those that failed in the middle again. See README.md."""

import argparse
import contextlib
import io
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import django
from django.core.management import CommandError, call_command


@contextlib.contextmanager
def provider(failing: range, seconds: float) -> Iterator[tuple[str, Counter[int]]]:
    """Answers after some time: the ``failing`` requests that it gets with 500, each 400th with a Retry-After."""
    answers: Counter[int] = Counter()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(seconds)
            with lock:
                number = answers.total()
                status = 500 if number in failing else 429 if number % 400 == 399 else 200
                answers[status] += 1
            self.send_response(status)
            self.send_header("Content-Length", "0")
            if status == 429:
                self.send_header("Retry-After", "1")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", answers
    server.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--seconds", type=float, default=0.02, help="That the provider takes for an answer.")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
    django.setup()

    from django.conf import settings
    from django.db import connection
    from django.test.utils import override_settings

    from django_plugchat.models import Registration

    accounts = {
        f"account-{number}": {
            "TOKEN": f"token-{number}",
            "WEBHOOK_SECRETS": [f"secret-number-{number:06}-of-an-account"],
        }
        for number in range(options.accounts)
    }
    name = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    half = options.accounts // 2
    for concurrency in options.concurrency:
        Registration.objects.all().delete()
        with provider(range(half, half + 100), options.seconds) as (api_url, answers):
            for arguments in (["--all"], ["--all", "--only-missing"], ["--all", "--only-missing"]):
                answers_before = answers.copy()
                started_at = time.monotonic()
                problem = ""
                plugchat = settings.PLUGCHAT | {"ACCOUNTS": accounts, "API_URL": api_url}
                with override_settings(PLUGCHAT=plugchat):
                    try:
                        call_command(
                            "plugchat_set_webhook",
                            *arguments,
                            concurrency=concurrency,
                            stdout=io.StringIO(),
                            stderr=io.StringIO(),
                        )
                    except CommandError as error:
                        problem = str(error)
                print(
                    f"{' '.join(arguments)} --concurrency {concurrency}: {time.monotonic() - started_at:.1f} s;",
                    end=" ",
                )
                print(f"{dict(answers - answers_before)}, {Registration.objects.count()} registered. {problem}")
    connection.creation.destroy_test_db(name, verbosity=0)


if __name__ == "__main__":
    main()
