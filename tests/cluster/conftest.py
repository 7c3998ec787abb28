"""cluster.yaml started by `ray up` over SSH, on two hosts that this machine plays."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from hicray.cluster.spot import METADATA
from tests.buckets import BUCKET, Bucket, s3_server
from tests.cluster.hosts import Host, Hosts, made_hosts, require_hosts

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster.yaml"
RAY = str(Path(sys.executable).with_name("ray"))
PLACEHOLDER = "s3://YOUR-BUCKET/hicray"
INSTALL = ("apt-get", "make -C")
"""Setup commands that make the environment, which is here already."""


def for_hosts(config: dict[str, Any], hosts: Hosts, bucket: Bucket) -> dict[str, Any]:
    """Return cluster.yaml for two hosts by SSH; what is not named here is left as it is.

    - provider, SSH and instance types: Ray's local provider with the hosts' addresses;
    - the bucket's name, and what finds its server: on AWS it is found without;
    - the environment: a link to the one that runs the tests, in place of installing it;
    - autoscaler v1: with the local provider, v2 counts the head as a worker and starts none.
    """
    head, *workers = hosts.hosts
    swapped = {
        "provider": {
            "type": "local",
            "head_ip": head.address,
            "worker_ips": [host.address for host in workers],
        },
        "auth": {"ssh_user": "root", "ssh_private_key": str(hosts.key)},
        "max_workers": len(workers),
    }
    instances = ("available_node_types", "head_node_type")
    config = {name: part for name, part in config.items() if name not in instances} | swapped
    found_by = " ".join(f"{name}={value}" for name, value in bucket.environment.items())
    commands = [
        command.replace(PLACEHOLDER, f"s3://{BUCKET}/hicray")
        for command in config["setup_commands"]
        if not any(word in command for word in INSTALL)
    ]
    # The code that was mounted, not the one that the environment knows.
    here = f"PYTHONPATH=$HOME/hicray {found_by}"
    config["setup_commands"] = [
        *commands,
        f"ln -sfn {sys.prefix} ~/.venv",
        f"echo 'export {here}' >> ~/.hicray_env",
    ]
    return config


@dataclass
class Started:
    """A cluster that `ray up` started.

    Attributes:
        file: Its cluster.yaml.
        began: When `ray up` was called, in seconds since 1970.
        up_seconds: How long that took.
        joined_seconds: From `ray up` to the worker's joining.
        submitted: When a search was submitted, in seconds since 1970.
    """

    file: Path
    hosts: Hosts
    bucket: Bucket
    home: Path
    began: float = 0.0
    up_seconds: float = 0.0
    joined_seconds: float = 0.0
    submitted: float = 0.0

    @property
    def notice(self) -> Path:
        """What the worker's metadata service says, once it is there."""
        return self.worker.folder / "notice"

    @property
    def head(self) -> Host:
        return self.hosts.hosts[0]

    @property
    def worker(self) -> Host:
        return self.hosts.hosts[1]

    def ray(self, *words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run `ray ...` as somebody at a laptop does, in the checkout."""
        environment = os.environ | {"HOME": str(self.home), "RAY_TMPDIR": str(self.home)}
        environment["RAY_UP_enable_autoscaler_v2"] = "0"
        return subprocess.run(
            [RAY, *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def ok(self, *words: str, timeout: float = 300) -> str:
        """Run `ray ...`, which must succeed, and return its output."""
        done = self.ray(*words, timeout=timeout)
        assert done.returncode == 0, f"{words}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def nodes(self) -> dict[str, str]:
        """Return the ids of Ray's living nodes, by the host's name."""
        done = self.head.login("ray list nodes --format json --filter state=ALIVE")
        names = {host.address: host.name for host in self.hosts.hosts}
        listed = json.loads(done.stdout) if done.returncode == 0 else []
        return {names[node["node_ip"]]: node["node_id"] for node in listed}


@pytest.fixture(scope="session")
def started() -> Iterator[Started]:
    """The cluster, from `ray up` to the worker's joining; nothing is left of it afterwards."""
    require_hosts()
    folder = Path(tempfile.mkdtemp(prefix="hr-", dir="/tmp"))
    try:
        with (
            made_hosts(folder, ["head", "worker"]) as hosts,
            s3_server(folder, hosts.here) as bucket,
        ):
            yield _up(folder, hosts, bucket)
    finally:
        shutil.rmtree(folder)


def _up(folder: Path, hosts: Hosts, bucket: Bucket) -> Started:
    file, home = folder / "cluster.yaml", folder / "laptop"
    home.mkdir()
    file.write_text(yaml.safe_dump(for_hosts(yaml.safe_load(CLUSTER.read_text()), hosts, bucket)))
    cluster = Started(file, hosts, bucket, home)
    cluster.ok("get-auth-token", "--generate")
    _metadata_service(cluster.worker)
    cluster.began = time.time()
    cluster.ok("up", "-y", "--no-config-cache", "--disable-usage-stats", str(file))
    cluster.up_seconds = time.time() - cluster.began
    deadline = time.monotonic() + 240
    while "worker" not in cluster.nodes():
        assert time.monotonic() < deadline, cluster.head.login(
            "ray list nodes; tail -n 60 /tmp/ray/session_latest/logs/monitor.*"
        )
        time.sleep(2)
    cluster.joined_seconds = time.time() - cluster.began
    return cluster


def _metadata_service(host: Host) -> None:
    """Start the stand-in on a host, at the address and port that a cloud has it."""
    address = METADATA.removeprefix("http://")
    subprocess.run(host.inside("ip", "address", "add", f"{address}/32", "dev", "lo"), check=True)
    program = str(Path(__file__).with_name("metadata.py"))
    words = [sys.executable, program, address, "80", str(host.folder / "notice")]
    # It ends with its host.
    subprocess.Popen(host.inside(*words), start_new_session=True)
