"""Several database servers that hold the same: PostgreSQL with a synchronous standby, Galera."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

from .faults import MariaDB, PostgreSQL, as_options, directory_of_mariadb
from .servers import free_port


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


class Node(MariaDB):
    """One of a Galera cluster."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.group_port, self.transfer_port = free_port(), free_port()

    def join(self, nodes: list[Self], *options: str) -> None:
        provider = (
            f"gmcast.listen_addr=tcp://127.0.0.1:{self.group_port};ist.recv_addr=127.0.0.1:{self.transfer_port};"
            "evs.keepalive_period=PT0.5S;evs.suspect_timeout=PT2S;evs.inactive_timeout=PT4S;pc.recovery=false"
        )
        arguments = {
            "binlog-format": "ROW",
            "innodb-autoinc-lock-mode": 2,
            "wsrep-on": "ON",
            "wsrep-provider": next(Path("/usr/lib").glob("**/galera/libgalera_smm.so")),
            "wsrep-provider-options": provider,
            "wsrep-cluster-address": "gcomm://" + ",".join(f"127.0.0.1:{node.group_port}" for node in nodes),
            "wsrep-node-address": f"127.0.0.1:{self.group_port}",
            "wsrep-sst-receive-address": f"127.0.0.1:{free_port()}",
        }
        self.start(*as_options(arguments), *options)
        self.wait_for("Primary")

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


@contextmanager
def galera() -> Iterator[list[Node]]:
    """Three nodes with a database ``plugchat``. Each begins with a copy of the first: nothing is transferred."""
    with ExitStack() as stack:
        directory = stack.enter_context(directory_of_mariadb())
        nodes = [Node(directory / f"node-{number}") for number in range(3)]
        first = nodes[0]
        first.fill()
        first.join(nodes, "--wsrep-new-cluster")
        first.stop()
        for node in nodes[1:]:
            subprocess.run(["cp", "-a", first.directory, node.directory], check=True)
        for node in nodes:
            stack.callback(node.kill)
            node.join(nodes, *(["--wsrep-new-cluster"] if node is first else []))
        yield nodes
