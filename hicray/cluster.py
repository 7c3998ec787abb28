"""Start a local Ray, or join the cluster that RAY_ADDRESS names, with settings tried on 2.60."""

import importlib
import logging
import os
import re
import socket
from typing import NamedTuple

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Tune would end a search that is interrupted as if it were done.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    # Local runs are short: the default of 2 s would add seconds to every epoch.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}
# Ray reads most of these when it is imported.
for _name, _value in _QUIET.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402 - after the settings above

from hicray.config import UserError  # noqa: E402 - likewise

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
        UserError: No cluster answers at RAY_ADDRESS.
    """
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS", "local")
    if address != "local":
        _join(address)
        _quiet_data()
        return
    # A token file in the home folder would make Ray's own workers ask for it.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    ray.init(
        address="local",
        num_cpus=max(num_cpus or 0, (os.cpu_count() or 1) + 1),
        resources={DRIVER: 100},
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
    )
    _quiet_data()


def _quiet_data() -> None:
    # Imported here because it sets its own level when it is.
    data = importlib.import_module("ray.data")
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    # So that a UserError of a task is one here, with its sentence.
    data.DataContext.get_current().raise_original_map_exception = True


def _join(address: str) -> None:
    """Join a cluster; Ray alone would try for a minute, and end in pages."""
    host, _, port = address.rpartition(":")
    try:
        if port.isdigit() and os.environ.get("RAY_USE_TLS", "0") == "0":
            _greet(host.strip("[]"), int(port))
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"no Ray cluster can be joined at RAY_ADDRESS={address} ({reason}); give HOST:PORT of "
            "its head and the cluster's token, or unset it to start Ray on this machine"
        ) from error


def _greet(host: str, port: int) -> None:
    """Shake hands as gRPC does, which Ray speaks; of a service that is silent Ray never despairs.

    Raises:
        OSError: Nobody answers in time.
    """
    with socket.create_connection((host, port), ANSWER_SECONDS) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        if len(connection.recv(9)) < 9:
            raise ConnectionError("what listens there is not Ray")


def driver() -> dict[str, float]:
    """Return what a trial's driver asks of the cluster: a place on the head, and no CPU."""
    if DRIVER in ray.cluster_resources():
        return {"CPU": 0, DRIVER: 1}
    return {"CPU": 0, _HEAD: 0.001}


def leave() -> None:
    """Leave the cluster; a Ray that this process started ends."""
    ray.shutdown()


def require(workers: int, cpus_per_worker: float, use_gpu: bool) -> None:
    """Refuse at once what Ray would wait for for ever.

    Raises:
        UserError: The cluster lacks the CPUs or the GPUs.
    """
    there = ray.cluster_resources()
    need = {"CPU": workers * cpus_per_worker + 1}
    if use_gpu:
        need["GPU"] = float(workers)
    for name, amount in need.items():
        if there.get(name, 0) < amount:
            raise UserError(
                f"{workers} workers need {amount:g} {name}, this Ray cluster has "
                f"{there.get(name, 0):g}; ask for fewer workers"
                + (", or leave out --use-gpu" if name == "GPU" else "")
            )


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
    there = ray.cluster_resources()
    if use_gpu:
        return Pool(min(int(there.get("GPU", 0)), at_most), 1)
    # An actor has to fit on one node.
    nodes = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    cpus = min(CPUS_PER_ACTOR, max(1, int(max(nodes)) - 1))
    size = max(1, (int(there.get("CPU", 0)) - 1) // cpus)
    return Pool(min(size, at_most), cpus)


def disk_failure(traceback: str) -> OSError | None:
    """Return what a disk had against being written, where that is what a worker's traceback says.

    Ray Train and Tune hand on the text of an error alone.
    """
    found = re.findall(r"OSError: \[Errno (\d+)\] (.+)", traceback)
    return OSError(int(found[-1][0]), found[-1][1]) if found else None
