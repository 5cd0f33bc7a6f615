"""Several database servers that hold the same: PostgreSQL with a synchronous standby, Galera."""

import getpass
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from .faults import PostgreSQL
from .servers import free_port, wait_for_port


class Standby(PostgreSQL):
    """Follows a primary, which knows it by its name."""

    def __init__(self, name: str, primary: PostgreSQL) -> None:
        self.name, self.primary = name, primary
        super().__init__()

    def fill(self) -> None:
        source = f"host=127.0.0.1 port={self.primary.port} user=postgres application_name={self.name}"
        self.run("pg_basebackup", "--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--dbname", source)

    def received(self) -> int:
        """How far it has come, in bytes."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            (row,) = connection.execute("SELECT pg_last_wal_receive_lsn() - '0/0'::pg_lsn").fetchall()
            return int(row[0])

    def promote(self) -> None:
        self.run("pg_ctl", "promote", "--wait")


@contextmanager
def synchronous() -> Iterator[tuple[PostgreSQL, list[Standby], str]]:
    """A primary that waits for one of two standbys, and a URL that leads to whichever of the three takes writes."""
    with ExitStack() as stack:
        primary = PostgreSQL()
        stack.callback(primary.remove)
        standbys = []
        for name in "bc":
            standbys.append(Standby(name, primary))
            stack.callback(standbys[-1].remove)
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (b, c)'", "SELECT pg_reload_conf()")
        servers = [primary, *standbys]
        hosts, ports = "%2C".join("127.0.0.1" for _ in servers), "%2C".join(str(server.port) for server in servers)
        url = f"postgres://postgres@/postgres?host={hosts}&port={ports}&target_session_attrs=read-write"
        yield primary, standbys, url


#: The server does not run as root, nor does what brings a node up to date.
GALERA_USER = "mysql" if os.geteuid() == 0 else getpass.getuser()


class Node:
    """One of a Galera cluster."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port, self.group_port, self.transfer_port = free_port(), free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, nodes: list[Self], *options: str) -> None:
        provider = (
            f"gmcast.listen_addr=tcp://127.0.0.1:{self.group_port};ist.recv_addr=127.0.0.1:{self.transfer_port};"
            "evs.keepalive_period=PT0.5S;evs.suspect_timeout=PT2S;evs.inactive_timeout=PT4S;pc.recovery=false"
        )
        arguments = {
            "datadir": self.directory,
            "socket": self.directory / "socket",
            "pid-file": self.directory / "pid",
            "bind-address": "127.0.0.1",
            "port": self.port,
            "user": GALERA_USER,
            "binlog-format": "ROW",
            "innodb-autoinc-lock-mode": 2,
            "innodb-buffer-pool-size": "64M",
            "wsrep-on": "ON",
            "wsrep-provider": next(Path("/usr/lib").glob("**/galera/libgalera_smm.so")),
            "wsrep-provider-options": provider,
            "wsrep-cluster-address": "gcomm://" + ",".join(f"127.0.0.1:{node.group_port}" for node in nodes),
            "wsrep-node-address": f"127.0.0.1:{self.group_port}",
            "wsrep-sst-receive-address": f"127.0.0.1:{free_port()}",
        }
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    shutil.which("mariadbd", path="/usr/sbin:/usr/bin") or "mariadbd",
                    "--no-defaults",
                    *(f"--{name}={value}" for name, value in arguments.items()),
                    *options,
                ],
                stdout=log,
                stderr=log,
            )
        wait_for_port(self.port, self.process)
        self.wait_for("Primary")

    def execute(self, statement: str) -> Any:
        import MySQLdb

        connection = MySQLdb.connect(host="127.0.0.1", port=self.port, user="galera", autocommit=True)
        try:
            cursor = connection.cursor()
            cursor.execute(statement)
            return cursor.fetchall()
        finally:
            connection.close()

    def wait_for(self, status: str) -> None:
        deadline = time.monotonic() + 60
        while True:
            with suppress(Exception):
                ((_name, found),) = self.execute("SHOW STATUS LIKE 'wsrep_cluster_status'")
                if found == status:
                    return
            assert time.monotonic() < deadline, f"No {status} node."
            time.sleep(0.1)

    def isolate(self, *, isolated: bool) -> None:
        """Cut it off from the others, and not from its clients."""
        self.execute(f"SET GLOBAL wsrep_provider_options = 'gmcast.isolate={int(isolated)}'")
        self.wait_for("non-Primary" if isolated else "Primary")

    def kill(self) -> None:
        if self.process:  # pragma: no branch - one that did not start
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        if self.process:  # pragma: no branch
            self.process.terminate()
            self.process.wait(60)


@contextmanager
def galera() -> Iterator[list[Node]]:
    """Three nodes with a database ``plugchat``. Each begins with a copy of the first: nothing is transferred."""
    # Not below pytest's directories: they are for one user only.
    directory = Path(tempfile.mkdtemp(prefix="galera-"))
    shutil.chown(directory, GALERA_USER)
    nodes = [Node(directory / f"node-{number}") for number in range(3)]
    first = nodes[0]
    install = [
        "mariadb-install-db",
        "--no-defaults",
        f"--user={GALERA_USER}",
        "--auth-root-authentication-method=normal",
    ]
    subprocess.run([*install, "--skip-test-db", f"--datadir={first.directory}"], check=True, stdout=subprocess.DEVNULL)
    init = first.directory / "init.sql"
    init.write_text(
        "CREATE USER IF NOT EXISTS galera@'127.0.0.1';\nGRANT ALL ON *.* TO galera@'127.0.0.1';\n"
        "CREATE DATABASE IF NOT EXISTS plugchat CHARACTER SET utf8mb4;\n"
    )
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        first.start(nodes, "--wsrep-new-cluster", f"--init-file={init}")
        first.stop()
        for node in nodes[1:]:
            subprocess.run(["cp", "-a", first.directory, node.directory], check=True)
        for node in nodes:
            stack.callback(node.kill)
            node.start(nodes, *(["--wsrep-new-cluster"] if node is first else []))
        yield nodes


@contextmanager
def haproxy(directory: Path, nodes: list[Node]) -> Iterator[int]:
    """In front of the nodes, as the page "More than one machine" has it; yields its port."""
    port = free_port()
    servers = "\n".join(
        f"    server node{number} 127.0.0.1:{node.port} check inter 1s on-marked-down shutdown-sessions"
        for number, node in enumerate(nodes)
    )
    config = directory / "haproxy.cfg"
    config.write_text(
        f"""
defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 10s
listen galera
    bind 127.0.0.1:{port}
    balance roundrobin
    option mysql-check user galera
{servers}
"""
    )
    child = subprocess.Popen([shutil.which("haproxy", path="/usr/sbin:/usr/bin") or "haproxy", "-f", str(config)])
    try:
        wait_for_port(port, child)
        yield port
    finally:
        child.terminate()
        child.wait(60)
