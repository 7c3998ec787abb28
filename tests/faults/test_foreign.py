"""Clusters that know nothing of hicray: served, or refused in one sentence."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.processes import TRAIN, Command, data_options, hicray, run

pytestmark = pytest.mark.slow
CLUSTER = """
import sys, time
from ray.cluster_utils import Cluster
head = {"num_cpus": 0, "include_dashboard": True, "temp_dir": sys.argv[1]}
cluster = Cluster(initialize_head=True, head_node_args=head)
cluster.add_node(num_cpus=3, num_gpus=1)
cluster.wait_for_nodes()
print("at", cluster.address, flush=True)
time.sleep(3600)
"""
ON_GPU = """
import ray
from hicray.cluster import connection
connection.connect()
where = connection.on_gpu(lambda: ray.get_runtime_context().get_node_id())
(node,) = [node for node in ray.nodes() if node["NodeID"] == where]
print("GPUs there:", node["Resources"].get("GPU"), "CPUs:", node["Resources"].get("CPU"))
"""
ADDRESS = re.compile(r"^at (\S+:\d+)$", re.MULTILINE)
OPEN = {"RAY_AUTH_MODE": "disabled"}


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> Iterator[str]:
    """A head without CPUs and one node; neither declares a resource of hicray's."""
    folder = Path(f"/tmp/hr-{tmp_path_factory.getbasetemp().name}")
    log = tmp_path_factory.mktemp("foreign") / "log"
    with Command([sys.executable, "-c", CLUSTER, str(folder)], log, **OPEN) as command:
        command.wait_for(lambda: ADDRESS.search(command.said))
        yield ADDRESS.findall(command.said)[-1]


def test_a_cluster_without_the_drivers_resource_is_served(foreign, tiny_simulation, tmp_path):
    options = [*data_options(tiny_simulation), *TRAIN, "--storage", tmp_path / "storage"]
    words = hicray("train", *options, "--sequence", "off", "--epochs", 1)
    run(words, tmp_path / "log", RAY_ADDRESS=foreign, **OPEN)
    assert list(tmp_path.glob("storage/trials/noseq-*/checkpoint_*/trial.json"))


def test_more_than_it_has_is_refused(foreign, tiny_simulation, tmp_path):
    options = [*data_options(tiny_simulation), *TRAIN, "--storage", tmp_path / "storage"]
    words = hicray("train", *options, "--workers", 9, "--batch-size", 1)
    said = run(words, tmp_path / "log", code=2, RAY_ADDRESS=foreign, **OPEN)
    assert said.splitlines()[-1] == (
        "hicray: 9 workers need 10 CPU, this Ray cluster has 3; ask for fewer workers"
    )


def test_what_needs_a_gpu_runs_where_one_is(foreign, tmp_path):
    said = run([sys.executable, "-c", ON_GPU], tmp_path / "log", RAY_ADDRESS=foreign, **OPEN)
    assert "GPUs there: 1.0 CPUs: 3.0" in said
