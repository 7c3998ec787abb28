"""Several Ray nodes on one machine: started, watched, drained and killed with all they run."""

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray._common.utils import reset_ray_address
from ray._private.ray_constants import PROCESS_TYPE_RAYLET
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DrainNodeReason

from tests.faults.processes import Command, free_port

TRAINING = "ray::RayTrainWorker"
"""Title of the processes that train."""
RAY = str(Path(sys.executable).parent / "ray")
QUICK = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.2",
    # As on a cloud; this process has hicray's setting for a Ray of its own.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "1",
    # Ray's own way to find the head is the last cluster started on this machine, maybe another.
    "RAY_API_SERVER_ADDRESS": "http://127.0.0.1:9",
}
STORE = 150 * 2**20
"""Bytes of a node's object store."""


class Nodes:
    """A Ray cluster whose head runs trial drivers and nothing else, as on a cloud.

    Args:
        temporary: Short folder of its own, for sockets and logs.
        **head: Further arguments of the head.
    """

    def __init__(self, temporary: str, **head: Any) -> None:
        self.temporary = temporary
        self.started: set[int] = set()
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "resources": {"driver": 100},
                "include_dashboard": False,
                "dashboard_port": free_port(),
                "temp_dir": temporary,
                "object_store_memory": STORE,
                **head,
            },
        )
        self._note()

    @property
    def address(self) -> str:
        """What RAY_ADDRESS names."""
        return str(self.cluster.address)

    def add(self, cpus: int = 2, **more: Any) -> Any:
        """Start a node."""
        node = self.cluster.add_node(num_cpus=cpus, object_store_memory=STORE, **more)
        self._note()
        return node

    def training(self) -> dict[int, Any]:
        """Return the processes that train, each with its node."""
        found = {}
        for node in list(self.cluster.worker_nodes):
            for pid in descendants(raylet(node)):
                if command(pid).startswith(TRAINING):
                    found[pid] = node
        return found

    def kill(self, node: Any) -> None:
        """End a node at once, as when its power fails: no process of it lives on."""
        doomed = [pid for one in _pids(node) for pid in [one, *descendants(one)]]
        self.cluster.remove_node(node, allow_graceful=False)
        _kill(doomed)

    def drain(self, node: Any, seconds: float) -> None:
        """Announce that a node will be taken away, as `ray drain-node` does, without its start."""
        deadline = int((time.time() + seconds) * 1000)
        preempted = DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION
        accepted, why = GcsClient(address=self.address).drain_node(
            node.node_id, preempted, "spot", deadline
        )
        assert accepted, why

    @contextlib.contextmanager
    def blind(self, folder: Path) -> Iterator[None]:
        """Start a node for which another file system, an empty one, lies over a folder."""
        start = f"{RAY} start --address {self.address} --num-cpus 1 --block"
        words = ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs none {folder} && exec {start}"]
        with Command(words, Path(self.temporary) / "blind.log") as node:
            node.wait_for(lambda: len(self.cluster.global_state._live_node_ids()) == 2)
            yield

    def stop(self) -> None:
        """End all nodes; check that nothing is left."""
        self._note()
        for node in self.cluster.list_all_nodes():
            self.kill(node)
        # A node that lost its head ends by itself, and its agents may outlive it.
        _kill(list(self.started))
        deadline = time.monotonic() + 20
        while (left := [pid for pid in self.started if alive(pid)]) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left, [command(pid) for pid in left]

    def _note(self) -> None:
        for node in self.cluster.list_all_nodes():
            for one in _pids(node):
                self.started.update([one, *descendants(one)])


@contextlib.contextmanager
def ray_nodes(environment: dict[str, str] | None = None, **head: Any) -> Iterator[Nodes]:
    """Start a head with a clean environment; end all nodes afterwards.

    Args:
        environment: Variables of its nodes.
        **head: Further arguments of the head.
    """
    with (
        tempfile.TemporaryDirectory(prefix="hr-", dir="/tmp", ignore_cleanup_errors=True) as own,
        pytest.MonkeyPatch.context() as patch,
    ):
        # Nodes have the environment of a cloud's, not what this process's Ray was given.
        for name in list(os.environ):
            if name.startswith(("RAY_TRAIN_", "RAY_ADDRESS")):
                patch.delenv(name)
        for name, value in (QUICK | (environment or {})).items():
            patch.setenv(name, value)
        nodes = Nodes(own, **head)
        try:
            yield nodes
        finally:
            nodes.stop()
            reset_ray_address()


def raylet(node: Any) -> int:
    """Return the process whose children are a node's workers."""
    return int(node.all_processes[PROCESS_TYPE_RAYLET][0].process.pid)


def _pids(node: Any) -> list[int]:
    return [info.process.pid for infos in node.all_processes.values() for info in infos]


def descendants(pid: int) -> list[int]:
    """Return the processes that a process started, and those that they started."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found = list(children.get(pid, []))
    for one in found:  # grows as it goes
        found.extend(children.get(one, []))
    return found


def command(pid: int) -> str:
    """Return a process's title or command line."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
    return ""


def alive(pid: int) -> bool:
    """Return whether a process runs; one that nobody has asked after yet does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
