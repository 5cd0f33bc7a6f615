"""What stands between Django and its database: PgBouncer, and other clients that keep it busy; HAProxy."""

import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .faults import AS_USER, POSTGRESQL_USER
from .servers import free_port, wait_for_port

#: Fewer than there are clients, so that statements of one client meet those of others on each of them.
SERVER_CONNECTIONS = 2


@contextmanager
def _listening(command: list[str], port: int, directory: Path) -> Iterator[None]:
    child = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL)
    try:
        wait_for_port(port, child)
        yield
    finally:
        child.terminate()
        child.wait(60)


@contextmanager
def pgbouncer(host: str, port: int | str, *users: str, **options: int) -> Iterator[int]:
    """PgBouncer in transaction mode, before a PostgreSQL that trusts these users; yields its port."""
    own_port = free_port()
    # Not below pytest's directories: they are for one user only.
    directory = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    (directory / "users").write_text("".join(f'"{user}" ""\n' for user in users))
    config = directory / "pgbouncer.ini"
    config.write_text(
        f"""
        [databases]
        * = host={host} port={port or 5432}
        [pgbouncer]
        pool_mode = transaction
        default_pool_size = {SERVER_CONNECTIONS}
        listen_addr = 127.0.0.1
        listen_port = {own_port}
        unix_socket_dir =
        auth_type = trust
        auth_file = {directory / "users"}
        """
        + "".join(f"\n{name} = {value}" for name, value in options.items())
    )
    shutil.chown(directory, POSTGRESQL_USER)
    command = [*AS_USER, shutil.which("pgbouncer", path="/usr/sbin:/usr/bin") or "pgbouncer", "--quiet", str(config)]
    try:
        with _listening(command, own_port, directory):
            yield own_port
    finally:
        shutil.rmtree(directory)


@contextmanager
def busy(url: str, clients: int = 4) -> Iterator[None]:
    """Other clients with transactions of their own."""
    import psycopg  # of the services' environment alone

    ended = threading.Event()

    def work() -> None:
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
            while not ended.is_set():
                with connection.transaction():
                    connection.execute("SELECT pg_sleep(0.001)")

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@contextmanager
def haproxy(directory: Path, check: str, *ports: int, timeout: int = 10) -> Iterator[int]:
    """HAProxy before database servers, as the pages have it; yields its port."""
    own_port = free_port()
    servers = "".join(
        f"    server node{number} 127.0.0.1:{port} check inter 1s on-marked-down shutdown-sessions\n"
        for number, port in enumerate(ports)
    )
    config = directory / "haproxy.cfg"
    config.write_text(
        f"""
listen database
    bind 127.0.0.1:{own_port}
    mode tcp
    balance roundrobin
    timeout connect 2s
    timeout client 1h
    timeout server {timeout}s
    option {check}
{servers}"""
    )
    command = [shutil.which("haproxy", path="/usr/sbin:/usr/bin") or "haproxy", "-f", str(config)]
    with _listening(command, own_port, directory):
        yield own_port
