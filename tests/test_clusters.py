"""Several database servers, one of which dies or is cut off: nothing is lost, acknowledged or not."""

import pytest

from .clusters import Standby, galera, synchronous
from .faults import Client
from .poolers import haproxy
from .test_faults import check, start

pytestmark = pytest.mark.services


def check_all_kept(client: Client) -> None:
    assert set(client.tally()) <= {200, "kept"}
    assert client.tally()["kept"]


def test_a_synchronous_standby_is_promoted(tmp_path):
    with synchronous() as (primary, standbys, url):
        project = start(tmp_path, url, SPOOL_DIR=str(tmp_path / "spool"))
        with project.web() as (base, _), Client(base) as client:
            client.wait_for(200, 50)
            primary.stop()
            client.wait_for("kept", 20)
            # What was acknowledged, one of them has; not always the same one.
            max(standbys, key=Standby.received).promote()
            client.wait_for(200, 50)
        check(project, client, "a synchronous standby promoted")
        check_all_kept(client)


def test_a_node_of_galera_is_cut_off_and_one_is_killed(tmp_path):
    with galera() as nodes, haproxy(tmp_path, "mysql-check user plugchat", *(node.port for node in nodes)) as port:
        project = start(tmp_path, f"mysql://plugchat@127.0.0.1:{port}/plugchat", SPOOL_DIR=str(tmp_path / "spool"))
        with project.web() as (base, _), Client(base) as client:
            client.wait_for(200, 50)
            nodes[1].isolate(isolated=True)
            client.wait_for(200, 50)
            nodes[1].isolate(isolated=False)
            nodes[2].kill()
            client.wait_for(200, 50)
        check(project, client, "a node of Galera cut off, another one killed")
        assert set(client.tally()) <= {200, "kept"}
