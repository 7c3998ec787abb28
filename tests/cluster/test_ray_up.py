"""The lines of docs/cluster.md, on a cluster that `ray up` started: submit, look, take it down."""

import json
import shlex
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from hicray.simulation.simulate import Simulation
from tests.buckets import BUCKET
from tests.cluster.conftest import Started
from tests.cluster.hosts import Host

pytestmark = pytest.mark.slow
WORK = """
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On
@ray.remote(num_cpus=1)
class Work:
    def begun(self):
        return True
ray.init(log_to_driver=False)
options = dict(lifetime="detached", name="work", namespace="lab")
work = Work.options(scheduling_strategy=On("{node}", soft=False), **options).remote()
assert ray.get(work.begun.remote())
"""
DRAINING = """
import json, ray
from ray._private.state import state
ray.init(log_to_driver=False)
print(json.dumps(state.get_draining_nodes()))
"""


@pytest.fixture(scope="module")
def searched(started: Started, tiny_simulation: Simulation) -> str:
    """Submit the smallest search of the main job, on maps that lie in the bucket."""
    client = started.bucket.client()
    for path in (tiny_simulation.contacts[0], tiny_simulation.genome):
        client.upload_file(str(path), BUCKET, f"maps/{path.name}")
    options = {
        "--contacts": f"s3://{BUCKET}/maps/{tiny_simulation.contacts[0].name}",
        "--genome": f"s3://{BUCKET}/maps/{tiny_simulation.genome.name}",
        "--fine-bin-size": "128",
        "--coarse-bin-sizes": "512",
        "--window-bins": "64",
        "--train-stride-bins": "16",
        "--split": "'val=chr5;test=chr6'",
        "--arms": "on",
        "--trials": "1",
        "--epochs": "1",
        "--batch-size": "8",
        "--accumulate": "1",
        "--depth": "1",
    }
    program = "experiments/tune_encoder.py"
    words = [word for pair in options.items() for word in pair]
    started.submitted = time.time()
    return started.ok("submit", "--no-config-cache", str(started.file), program, "--", *words)


def python_on(host: Host, program: str) -> str:
    """Run a program as its user on a host, and return what it printed."""
    done = host.login(f"python -c {shlex.quote(program)}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def name(started: Started, kind: str) -> str:
    (found,) = [one for one in started.bucket.names("hicray/") if one.endswith(kind)]
    return found


def test_a_submitted_search_ends_with_its_table(searched):
    assert "512->128 bp, test (n = " in searched
    assert "| seq" in searched


def test_training_ran_on_the_worker_s_host_alone(started, searched):
    done = started.head.login("ray list actors --format json --limit 1000 --detail")
    ran = {
        one["node_id"] for one in json.loads(done.stdout) if one["class_name"] == "RayTrainWorker"
    }
    assert ran == {started.nodes()["worker"]}


def test_results_are_in_the_bucket(started, searched):
    names = started.bucket.names("hicray/")
    for part in ("/shards/manifest.json", "/report/compare.html", "/trial.json"):
        assert any(one.endswith(part) for one in names), part
    assert any(one.startswith("hicray/mlflow/") for one in names)  # by way of the head's server
    here = [path.name for path in (started.head.folder / "home").iterdir()]
    assert "runs" not in here


def test_the_head_s_mlflow_has_the_search(started, searched):
    ask = "import mlflow; c = mlflow.MlflowClient(); print(c.get_experiment_by_name('hicray').name)"
    assert python_on(started.head, ask).strip() == "hicray"
    assert not (started.worker.folder / "home" / "mlflow.db").exists()


def test_time_to_the_first_training_step(started, searched, capsys):
    """Print what the log of experiments keeps; other tests may run between the two commands."""
    saved = name(started, "/trial.json")
    client = started.bucket.client()
    got = client.get_object(Bucket=BUCKET, Key=saved)
    written: datetime = got["LastModified"]
    (epoch,) = json.loads(got["Body"].read())["history"]
    first = written.timestamp() - epoch["seconds"] - started.submitted
    with capsys.disabled():
        sys.stdout.write(
            f"\nray up {started.up_seconds:.0f} s, worker joined after "
            f"{started.joined_seconds:.0f} s, first training step {first:.0f} s after ray submit\n"
        )
    assert 0 < first < 600


def test_exec_runs_on_the_head(started):
    said = started.ok("exec", "--no-config-cache", str(started.file), "hostname && ray status")
    assert "head" in said.split()
    assert "driver" in said


def test_a_spot_notice_drains_the_node_of_the_worker(started, searched):
    """The watcher is cluster.yaml's own, the metadata service a stand-in at the cloud's address."""
    worker = started.nodes()["worker"]
    python_on(started.head, WORK.format(node=worker))  # an idle node would leave at once
    end = datetime.now(UTC) + timedelta(seconds=120)
    notice = {"action": "terminate", "time": end.strftime("%Y-%m-%dT%H:%M:%SZ")}
    started.notice.write_text(json.dumps(notice))
    log = started.worker.folder / "home" / "spot.log"
    deadline = time.monotonic() + 60
    while "is drained" not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)
    draining = json.loads(python_on(started.head, DRAINING))
    assert draining[worker] == pytest.approx(end.timestamp() * 1000, abs=5000)


def test_down_ends_ray_on_every_host(started, searched):
    started.ok("down", "-y", str(started.file))
    # The launcher stops the head's; a worker on hosts of one's own ends when it misses its head.
    deadline = time.monotonic() + 120
    for host in started.hosts.hosts:
        while any(name in host.login("ps -eo args").stdout for name in ("raylet", "gcs_server")):
            assert time.monotonic() < deadline, host.name
            time.sleep(1)
