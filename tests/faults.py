"""Machines that break, and the client that keeps count meanwhile."""

import getpass
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import requests

from .payloads import EXAMPLE, URL
from .servers import free_port, wait_for_port

# Neither server runs as root.
POSTGRESQL_USER = "postgres" if os.geteuid() == 0 else getpass.getuser()
MARIADB_USER = "mysql" if os.geteuid() == 0 else getpass.getuser()
AS_USER = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []


@contextmanager
def stopped(*processes: int) -> Iterator[None]:
    """What a storage that hangs looks like to clients: all is connected, and nothing answers."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


class PostgreSQL:
    """A cluster of our own, to be mistreated."""

    def __init__(self) -> None:
        # Not below pytest's directories: they are for one user only.
        self.directory = Path(tempfile.mkdtemp(prefix="plugchat-"))
        shutil.chown(self.directory, POSTGRESQL_USER)
        self.binaries = max(Path("/usr/lib/postgresql").glob("*/bin/initdb")).parent
        self.port = free_port()
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"
        self.fill()
        self.start()

    def fill(self) -> None:
        self.run("initdb", "--auth=trust", "--username=postgres", "--no-sync")

    def execute(self, *statements: str) -> None:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*AS_USER, str(self.binaries / program), "--pgdata", str(self.directory), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            timeout=60,
        )

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.directory}"
        self.run("pg_ctl", "start", "--wait", "-o", options, "--log", str(self.directory / "log"))

    def stop(self) -> None:
        self.run("pg_ctl", "stop", "--mode", "immediate")

    def frozen(self) -> AbstractContextManager[None]:
        master = int((self.directory / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return stopped(master, *map(int, children))

    def remove(self) -> None:
        with suppress(subprocess.CalledProcessError):
            self.stop()  # unless it is
        shutil.rmtree(self.directory)


def as_options(arguments: dict[str, Any]) -> list[str]:
    return [f"--{name}={value}" for name, value in arguments.items()]


class MariaDB:
    """A server with a database ``plugchat``, to be mistreated."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.port = directory, free_port()
        self.url = f"mysql://plugchat@127.0.0.1:{self.port}/plugchat"

    def fill(self) -> None:
        script = self.directory.with_suffix(".sql")
        script.write_text(
            "FLUSH PRIVILEGES;\nCREATE USER plugchat@'127.0.0.1';\nGRANT ALL ON *.* TO plugchat@'127.0.0.1';\n"
            "CREATE DATABASE plugchat CHARACTER SET utf8mb4;\n"
        )
        options = {"user": MARIADB_USER, "datadir": self.directory, "extra-file": script}
        options["auth-root-authentication-method"] = "normal"
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", "--skip-test-db", *as_options(options)],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def start(self, *options: str) -> None:
        arguments = {
            "datadir": self.directory,
            "socket": self.directory / "socket",
            "pid-file": self.directory / "pid",
            "bind-address": "127.0.0.1",
            "port": self.port,
            "user": MARIADB_USER,
            "innodb-buffer-pool-size": "64M",
        }
        program = shutil.which("mariadbd", path="/usr/sbin:/usr/bin") or "mariadbd"
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, "--no-defaults", *as_options(arguments), *options], stdout=log, stderr=log
            )
        wait_for_port(self.port, self.process)

    def execute(self, statement: str) -> Any:
        import MySQLdb

        connection = MySQLdb.connect(host="127.0.0.1", port=self.port, user="plugchat", autocommit=True)
        try:
            cursor = connection.cursor()
            cursor.execute(statement)
            return cursor.fetchall()
        finally:
            connection.close()

    def frozen(self) -> AbstractContextManager[None]:
        return stopped(self.process.pid)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@contextmanager
def directory_of_mariadb() -> Iterator[Path]:
    # Not below pytest's directories: they are for one user only.
    directory = Path(tempfile.mkdtemp(prefix="mariadb-"))
    shutil.chown(directory, MARIADB_USER)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


class Redis:
    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.server = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        self.server.kill()
        self.server.wait()


class Client:
    """Posts new callbacks from several connections until it is stopped, and notes how each was answered."""

    def __init__(self, base: str, connections: int = 4, **extra: Any):
        self.url = base + URL
        self.extra = extra
        self.answers: dict[str, Any] = {}
        self.going = True
        self.threads = [threading.Thread(target=self.post_on) for _ in range(connections)]

    def post_on(self) -> None:
        session = requests.Session()
        while self.going:
            self.post(session)
            time.sleep(0.01)
        session.close()

    def post(self, session: requests.Session) -> Any:
        zaap_id = uuid.uuid4().hex
        answer: Any = "no answer"
        with suppress(requests.RequestException):
            response = session.post(self.url, json=EXAMPLE | {"zaapId": zaap_id} | self.extra, timeout=30)
            answer = "kept" if response.text == '{"status":"kept"}' else response.status_code
            if answer == 503:
                assert int(response.headers["Retry-After"]) > 0
        self.answers[zaap_id] = answer
        return answer

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.going = False
        for thread in self.threads:
            thread.join()

    def wait_for(self, answer: Any, times: int = 5) -> None:
        """Until that answer came so often from now on: what a fault causes, or its end."""
        before = self.tally()[answer]
        deadline = time.monotonic() + 60
        while self.tally()[answer] < before + times:
            assert time.monotonic() < deadline, f"{answer} did not come: {self.tally()}"
            time.sleep(0.05)

    def tally(self) -> Counter[Any]:
        return Counter(list(self.answers.values()))

    @property
    def acknowledged(self) -> set[str]:
        return {zaap_id for zaap_id, answer in self.answers.items() if answer in (200, "kept")}
