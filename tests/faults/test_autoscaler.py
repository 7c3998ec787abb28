"""A cluster that has no worker until one is asked for: Ray's autoscaler, with nodes made here."""

import json
import sys
from pathlib import Path

import pytest
from ray.util import get_node_ip_address

from hicray.simulation.simulate import Simulation
from tests.faults.nodes import ray_nodes
from tests.faults.processes import TRAIN, Command, data_options, free_port, hicray, run

pytestmark = pytest.mark.slow
HEAD = "ray.head.default"
HEAD_ID = "f" * 51 + "00000"
AUTOSCALED = {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
    "RAY_NODE_TYPE_NAME": HEAD,
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
}
OFFERED = """
from hicray.cluster.connection import connect, offered
connect()
print(sorted(offered("CPU")))
"""


def configuration(port: int) -> dict:
    """Return what `ray up` would write on the head, for nodes that are processes."""
    nodes = {
        HEAD: {"resources": {}, "node_config": {}, "max_workers": 0},
        "small": {"resources": {"CPU": 2}, "node_config": {}, "max_workers": 2},
        "large": {"resources": {"CPU": 3}, "node_config": {}, "max_workers": 1},
    }
    unused = ("head_setup", "worker_setup", "setup", "initialization")
    unused += ("head_start_ray", "worker_start_ray")
    return {f"{name}_commands": [] for name in unused} | {
        "cluster_name": "made-here",
        "auth": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 5,
        "max_workers": 2,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": f"{get_node_ip_address()}:{port}",
            "head_node_id": HEAD_ID,
            "launch_multiple": True,
        },
        "available_node_types": nodes,
        "head_node_type": HEAD,
    }


def test_what_an_autoscaler_may_start_counts_as_there(tiny_simulation: Simulation, tmp_path: Path):
    port = free_port()
    config = tmp_path / "cluster.json"
    config.write_text(json.dumps(configuration(port)))
    words = hicray(
        "train", *data_options(tiny_simulation), *TRAIN, "--storage", tmp_path / "storage",
        "--epochs", 1, "--sequence", "off", "--batch-size", 1,
    )  # fmt: skip
    with ray_nodes(AUTOSCALED, autoscaling_config=str(config), gcs_server_port=port) as nodes:
        said = run([sys.executable, "-c", OFFERED], tmp_path / "offered", RAY_ADDRESS=nodes.address)
        assert said.splitlines()[-1] == "[0.0, 2.0, 3.0]"
        with Command(
            [*words, "--workers", "6"], tmp_path / "refused", RAY_ADDRESS=nodes.address
        ) as c:
            assert "6 workers need 7 CPU, this Ray cluster has 5" in c.end(2)
        with Command(words, tmp_path / "log", RAY_ADDRESS=nodes.address) as command:
            command.end()
    assert list(tmp_path.glob("storage/trials/*/checkpoint_*/trial.json"))
