"""Hosts on this machine: each with a network, processes, temporary files and home of its own.

Made of Linux namespaces, so that a host behaves as one: `ray stop` on it ends its own processes
alone, its ports are free, and killing its first process ends all of it.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

TOOLS = ("sshd", "rsync", "ip", "unshare", "nsenter")
# Where Debian keeps sshd and ip, which is not on everybody's path.
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
_LIVE = """\
set -e
hostname {name}
mount --bind {folder}/tmp /tmp/ray
mount --bind {folder}/passwd /etc/passwd
mount -t tmpfs tmpfs /run
mount -t tmpfs -o size=12g tmpfs /dev/shm
mkdir /run/sshd
ip link set lo up
exec {sshd} -D -e -f {folder}/sshd_config
"""
_SSHD = """\
ListenAddress {address}
HostKey {key}
AuthorizedKeysFile {key}.pub
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
PidFile none
"""


def require_hosts() -> None:
    """Skip where hosts cannot be made, saying what is missing."""
    missing = [tool for tool in TOOLS if shutil.which(tool, path=PATH) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} missing: .ci/install-hosts installs them")
    if os.geteuid() != 0 or _run("unshare", "--net", "--pid", "--fork", "true", check=False):
        pytest.skip("hosts of its own need root and Linux namespaces")


def _run(*words: str, check: bool = True) -> int:
    environment = os.environ | {"PATH": PATH}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"{words}: {done.stderr}"
    return done.returncode


@dataclass
class Host:
    """One host; its home is ``folder / 'home'``."""

    name: str
    address: str
    folder: Path
    process: subprocess.Popen[bytes]

    def inside(self, *words: str) -> list[str]:
        """Return a command line that runs on this host, as root, without SSH."""
        first = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        where = ["nsenter", "-t", first.split()[0], "--net", "--pid", "--mount", "--uts", "--ipc"]
        return [*where, *words]

    def login(self, command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command as `ray exec` does, in a login shell of this host."""
        shell = ["env", "-i", f"HOME={self.folder}/home", f"PATH={PATH}", "bash", "--login", "-c"]
        words = self.inside(*shell, f"source ~/.bashrc; {command}")
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=timeout)


@dataclass
class Hosts:
    """Some hosts and this machine, at ``here`` of their network."""

    here: str
    key: Path
    hosts: list[Host]


def _tree(pid: int) -> list[int]:
    """Return the processes below one; a host's are, as its first one adopts its orphans."""
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [one for child in map(int, below) for one in (child, *_tree(child))]


@contextmanager
def made_hosts(folder: Path, names: list[str]) -> Iterator[Hosts]:
    """Make hosts, and leave nothing of them behind.

    Args:
        folder: Short, for a host's files; removed by the caller.
        names: Of the hosts.
    """
    number = os.getpid() % 250
    bridge, net = f"hrbr{number}", f"10.77.{number}"
    key = folder / "key"
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    hosts: list[Host] = []
    temporary = Path("/tmp/ray")
    made = not temporary.exists()
    temporary.mkdir(exist_ok=True)
    try:
        _run("ip", "link", "add", bridge, "type", "bridge")
        _run("ip", "address", "add", f"{net}.254/24", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")
        for i, name in enumerate(names, 1):
            _wire(f"hr{number}-{i}", bridge, f"{net}.{i}", f"{net}.254")
            hosts.append(_start(f"hr{number}-{i}", name, f"{net}.{i}", folder / name, key))
        yield Hosts(f"{net}.254", key, hosts)
    finally:
        _end(hosts)
        for i in range(1, len(names) + 1):
            _run("ip", "netns", "delete", f"hr{number}-{i}", check=False)
        _run("ip", "link", "delete", bridge, check=False)
        if made:
            temporary.rmdir()


def _end(hosts: list[Host]) -> None:
    """Kill the hosts' first processes, and with them all others; wait until they are gone."""
    left = [pid for host in hosts for pid in _tree(host.process.pid)]
    for host in hosts:
        host.process.kill()
        host.process.wait()
    deadline = time.monotonic() + 30
    while left := [pid for pid in left if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def _wire(space: str, bridge: str, address: str, gateway: str) -> None:
    _run("ip", "netns", "add", space)
    _run("ip", "link", "add", f"{space}h", "type", "veth", "peer", "eth0", "netns", space)
    _run("ip", "link", "set", f"{space}h", "master", bridge, "up")
    _run("ip", "-n", space, "address", "add", f"{address}/24", "dev", "eth0")
    _run("ip", "-n", space, "link", "set", "eth0", "up")
    # Ray finds its own address by the route to the world, which is never taken.
    _run("ip", "-n", space, "route", "add", "default", "via", gateway)


def _start(space: str, name: str, address: str, folder: Path, key: Path) -> Host:
    for part in ("home", "tmp"):
        (folder / part).mkdir(parents=True)
    # Not HOME: ssh finds a home by the user's entry alone.
    (folder / "passwd").write_text(f"root:x:0:0:root:{folder}/home:/bin/bash\n{_others()}")
    config = _SSHD.format(address=address, key=key)
    (folder / "sshd_config").write_text(config)
    sshd = shutil.which("sshd", path=PATH)
    script = _LIVE.format(name=name, folder=folder, sshd=sshd)
    spaces = ["--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen(
            ["ip", "netns", "exec", space, "unshare", *spaces, "bash", "-c", script],
            env={"PATH": PATH},
            stdout=log,
            stderr=log,
        )
    host = Host(name, address, folder, process)
    _await_ssh(host)
    return host


def _others() -> str:
    lines = Path("/etc/passwd").read_text().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("root:"))


def _await_ssh(host: Host) -> None:
    log = host.folder / "sshd.log"
    for _ in range(100):
        if "Server listening" in log.read_text():
            return
        assert host.process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise TimeoutError(f"{host.name}: {log.read_text()}")
