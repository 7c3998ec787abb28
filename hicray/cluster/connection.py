"""Start a local Ray, or join the cluster that RAY_ADDRESS names, with settings tried on 2.60."""

import importlib
import logging
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import ray
import yaml
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hicray.cluster import machine
from hicray.config import UserError
from hicray.io.storage import Location
from hicray.wording import reason

Result = TypeVar("Result")

# Of this process and of a Ray that it starts. A cluster's processes have the environment of their
# nodes, where Ray Train's own values hold: it watches for nodes that a cloud announces to take
# away, which no local run needs.
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Tune would end a search that is interrupted as if it were done.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    # Local runs are short: the default of 2 s would add seconds to every epoch.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}
DRIVER = "driver"
"""Custom resource of nodes that may run trial drivers, where a cluster declares it."""
_HEAD = "node:__internal_head__"
"""Ray's own name for the head, which runs the drivers of a cluster without that resource."""
ANSWER_SECONDS = 10.0
"""How long the cluster that RAY_ADDRESS names may take to answer."""


def connect(num_cpus: int | None = None) -> None:
    """Join RAY_ADDRESS, or start Ray on this machine.

    Args:
        num_cpus: Logical CPUs of a local Ray; workers take some, Ray Data needs one beyond them.

    Raises:
        UserError: No cluster answers at RAY_ADDRESS, or none can be started here.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS", "local")
    if address != "local":
        _join(address)
        _quiet_data()
        return
    # A token file in the home folder would make Ray's own workers ask for it.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    # Ray Train asks the dashboard whether a trial's controller lives. A local Ray has none, and
    # Train would ask another cluster's on this machine, which does not know the controller, or
    # wait 12 s at each trial's end for one that is gone. Nobody listens here: it asks no further.
    os.environ.setdefault("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    # It waits for 30 s, which a busy machine may exceed.
    if not _started(num_cpus) and not _started(num_cpus):
        raise UserError(
            "Ray did not start, twice within its 30 s: this machine is too busy, or its temporary "
            f"folder {machine.ray_folder()} too slow or full; try again when it is not, or set "
            "TMPDIR to a folder on a local disk"
        )
    _quiet_data()


def _started(num_cpus: int | None) -> bool:
    """Start Ray here; return whether it came up in time."""
    try:
        _start(num_cpus)
    except Exception as error:  # Ray's own word for it is no other
        ray.shutdown()
        if "timed out during startup" not in str(error):
            raise
        return False
    return True


def _start(num_cpus: int | None) -> None:
    ray.init(
        address="local",
        num_cpus=max(num_cpus or 0, machine.cpus() + 1),
        _temp_dir=str(machine.ray_folder()),
        resources={DRIVER: 100},
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
    )


def _quiet_data() -> None:
    # Imported here because it sets its own level when it is.
    data = importlib.import_module("ray.data")
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    # So that a UserError of a task is one here, with its sentence.
    context.raise_original_map_exception = True


def _join(address: str) -> None:
    """Join a cluster; Ray alone would try for a minute, and end in pages."""
    host, _, port = address.rpartition(":")
    try:
        if port.isdigit() and os.environ.get("RAY_USE_TLS", "0") == "0":
            _greet(host.strip("[]"), int(port))
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"no Ray cluster can be joined at RAY_ADDRESS={address} ({reason(error)}); give "
            "HOST:PORT of its head and the cluster's token, or unset it to start Ray on this "
            "machine"
        ) from error


def _greet(host: str, port: int) -> None:
    """Ask an address for the first bytes of gRPC, which Ray speaks.

    Ray itself waits without end for a service that accepts a connection and says nothing.

    Raises:
        OSError: Nobody answers in time.
    """
    with socket.create_connection((host, port), ANSWER_SECONDS) as connection:
        # HTTP/2's preface and an empty SETTINGS frame; a server answers by a frame of its own, of
        # which the header alone has 9 bytes.
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        if len(connection.recv(9)) < 9:
            raise ConnectionError("what listens there is not Ray")


def driver() -> dict[str, float]:
    """Return what a trial's driver asks of the cluster: a place on the head, and no CPU."""
    if DRIVER in ray.cluster_resources():
        return {"CPU": 0.0, DRIVER: 1.0}
    # The head has 1 of it: this share ties a driver to the head and leaves room for a thousand.
    return {"CPU": 0.0, _HEAD: 0.001}


def leave() -> None:
    """Leave the cluster; a Ray that this process started ends."""
    ray.shutdown()


def require(workers: int, cpus_per_worker: float, use_gpu: bool) -> None:
    """Refuse at once what Ray would wait for for ever; nodes yet to be started count as there.

    Args:
        workers: Of one trial.
        cpus_per_worker: CPUs reserved for each.
        use_gpu: Whether each has a GPU.

    Raises:
        UserError: The cluster lacks the CPUs or the GPUs.
    """
    need = {"CPU": workers * cpus_per_worker + 1}
    if use_gpu:
        need["GPU"] = float(workers)
    for name, amount in need.items():
        if (available := sum(offered(name))) < amount:
            raise UserError(
                f"{workers} workers need {amount:g} {name}, this Ray cluster has "
                f"{available:g}; ask for fewer workers"
                + (", or leave out --use-gpu" if name == "GPU" else "")
            )


def require_shared(folder: Location) -> None:
    """Refuse a folder that a node does not see: a trial there would fail when it saves.

    Nodes that join later are not asked.

    Raises:
        UserError: A node reads something else there, or nothing.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) == 1:
        return
    probe = folder / f"probe-{uuid4().hex}"
    probe.write_text(probe.name)
    try:
        # Without a CPU, so that busy nodes answer too.
        reads = ray.remote(num_cpus=0)(_reads)
        answers = [reads.options(scheduling_strategy=_on(node)).remote(probe) for node in nodes]
        for node, seen in zip(nodes, ray.get(answers), strict=True):
            if not seen:
                raise UserError(
                    f"the node at {node['NodeManagerAddress']} does not see {folder}, which all "
                    "nodes have to share; give a --storage that each of them mounts, or "
                    "s3://bucket/folder"
                )
    finally:
        probe.unlink()


def _reads(probe: Location) -> bool:
    try:
        return probe.read_text() == probe.name
    except OSError:
        return False


def _on(node: dict[str, Any]) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)


def offered(resource: str) -> list[float]:
    """Return how much of a resource each node has, of those too that an autoscaler may start."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    present = [float(node.get(resource, 0)) for node in alive]
    config = _autoscaler()
    if config is None:
        return present
    head = [float(node.get(resource, 0)) for node in alive if _HEAD in node]
    startable: list[float] = []
    for name, kind in config["available_node_types"].items():
        if name != config["head_node_type"]:
            amount = float(kind.get("resources", {}).get(resource, 0))
            startable += [amount] * kind.get("max_workers", config["max_workers"])
    # Types of nodes share one limit; the largest nodes are taken to fill it.
    startable.sort(reverse=True)
    # Nodes that were joined by hand are in no configuration.
    return max(present, head + startable[: config["max_workers"]], key=sum)


def _autoscaler() -> dict[str, Any] | None:
    """Return the configuration of this cluster's autoscaler, if it runs on this machine.

    Ray tells only its monitor, a process of the head, where the search runs too. Kubernetes keeps
    it in a container of its own: there, as without one, what is there is all that counts.
    """
    address = f"--gcs-address={ray.get_runtime_context().gcs_address}"
    flag = "--autoscaling-config="
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_text(errors="replace").split("\0")
        except OSError:
            continue  # it has ended
        paths = [word.removeprefix(flag) for word in words if word.startswith(flag)]
        if paths and address in words:
            config: dict[str, Any] = yaml.safe_load(Path(paths[0]).expanduser().read_text())
            return config
    return None


CPUS_PER_ACTOR = 8
"""Each actor holds a network (1.2 GB for the large one), so few with several cores each."""


class Pool(NamedTuple):
    """Actors that run a network: how many, and the CPUs of each."""

    size: int
    cpus: int


def pool(at_most: int, *, use_gpu: bool) -> Pool:
    """Return an actor for every GPU; else as many as the CPUs feed, beside one for Ray Data.

    Args:
        at_most: Pieces of work.
        use_gpu: Whether each actor has a GPU.
    """
    if use_gpu:
        return Pool(min(int(sum(offered("GPU"))), at_most), 1)
    # An actor has to fit on one node.
    node_cpus = offered("CPU")
    cpus = min(CPUS_PER_ACTOR, max(1, int(max(node_cpus)) - 1))
    size = max(1, (int(sum(node_cpus)) - 1) // cpus)
    return Pool(min(size, at_most), cpus)


def on_gpu(work: Callable[..., Result], *args: Any) -> Result:
    """Run a function on a node that has a GPU, wherever this process is; return its result."""
    result: Result = ray.get(ray.remote(num_gpus=1)(work).remote(*args))
    return result


def disk_failure(traceback: str) -> OSError | None:
    """Return what a disk had against being written, where that is what a worker's traceback says.

    Ray Train and Tune hand on the text of an error alone.
    """
    # Tracebacks of chained errors end with the one that was raised last.
    errors = re.findall(r"OSError: \[Errno (\d+)\] (.+)", traceback)
    return OSError(int(errors[-1][0]), errors[-1][1]) if errors else None
