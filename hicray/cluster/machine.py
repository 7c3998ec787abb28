"""What this process may use of its machine: CPUs, and a folder for Ray's files and sockets."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from hicray.config import UserError

_SOCKET_BYTES = 107
"""Longest path of a Unix socket (AF_UNIX)."""
_RAY_BYTES = len("/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
"""What Ray adds to its folder at most, with the largest process id."""
_VARIABLES = ("RAY_TMPDIR", "TMPDIR")
"""What names Ray's folder, in Ray's own order."""


def cpus(root: Path = Path("/")) -> int:
    """Return how many CPUs this process may use: by its affinity, and by its control groups.

    A batch system or a container gives a job a few of a node's CPUs in either way.

    Args:
        root: Where ``proc`` and ``sys`` are mounted.
    """
    shares = [quota for group in _cpu_groups(root) if (quota := _quota(group)) is not None]
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    # A group of half a CPU still runs one thread.
    return max(1, int(min([allowed or 1, *shares])))


def _cpu_groups(root: Path) -> Iterator[Path]:
    """Yield the control groups whose CPU time this process shares: its own, and those above."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return  # not Linux
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for mount in _mounts(root, controllers):
            # In a container the group's name may be the host's, and its files lie at the mount.
            group = mount / name.lstrip("/")
            yield from (mount, *(path for path in (group, *group.parents) if mount in path.parents))


def _mounts(root: Path, controllers: str) -> list[Path]:
    """Return where the CPU groups of version 1, or all of version 2 (no controllers), lie."""
    base = root / "sys/fs/cgroup"
    return [base / controllers, base / "cpu"] if controllers else [base, base / "unified"]


def _quota(group: Path) -> float | None:
    """Return the CPUs whose time a group may take; None without a limit, or without the group."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
    except OSError:
        return None
    # Without a limit version 2 says "max" and version 1 says -1.
    return None if quota == "max" or int(quota) < 0 else int(quota) / int(period)


def ray_folder() -> Path:
    """Return the folder for Ray's files: in RAY_TMPDIR, TMPDIR or /tmp, under a short name.

    Ray's sockets lie in it, and a socket's path is short; job folders of batch systems are not.
    There a link in /tmp stands for them, so that all files lie where the user wants them.

    Raises:
        UserError: The folder that the environment names is not there, or cannot be written.
    """
    named = {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}
    for name, value in named.items():
        if not Path(value).is_dir() or not os.access(value, os.W_OK | os.X_OK):
            raise UserError(
                f"{name}={value} is no folder that can be written; make it, or unset {name}"
            )
    folder = Path(next(iter(named.values()), "/tmp")).absolute()
    short = len(os.fsencode(folder)) + _RAY_BYTES <= _SOCKET_BYTES
    return (folder if short else _short(folder)) / "ray"


def _short(folder: Path) -> Path:
    """Return a link to a folder, in a folder of /tmp that is this user's alone.

    Raises:
        UserError: There can be none.
    """
    links = Path(f"/tmp/hicray-{os.getuid()}")
    link = links / hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]
    try:
        links.mkdir(mode=0o700, exist_ok=True)
        # lstat: anybody may have put a link of this name into /tmp, which is not to be followed.
        status = links.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise PermissionError(f"{links} is another user's")
        if not link.is_symlink():
            unfinished = link.with_name(f"{link.name}.{os.getpid()}")
            unfinished.symlink_to(folder)
            unfinished.rename(link)  # as one step: another process may do the same
    except OSError as error:
        raise UserError(
            f"{folder} is too long a name for Ray's sockets, and /tmp takes no link to it "
            f"({error}); set RAY_TMPDIR to a folder of at most {_SOCKET_BYTES - _RAY_BYTES} "
            "characters"
        ) from error
    return link
