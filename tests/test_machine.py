"""CPUs and temporary folders as batch systems and containers give them, with real processes."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hicray.cluster import machine
from hicray.config import UserError
from tests.faults.processes import run

GROUPS = Path("/sys/fs/cgroup")
LONG = "job_folder_of_a_batch_system_" * 3
STARTED = """
import sys
from hicray.cluster import connection
from hicray.cli.guard import guarded
guarded(connection.connect)
import ray
node = ray._private.worker.global_worker.node
print("CPUs", ray.cluster_resources()["CPU"], "session", node.get_session_dir_path())
print(ray.get(ray.remote(num_cpus=1)(lambda: "a task ran").remote()))
"""


def said(code: str, **env: str) -> str:
    """Run Python in a process of its own; return what it says."""
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=os.environ | env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@contextlib.contextmanager
def control_group() -> Iterator[Path]:
    """Make a control group of this machine's own; skip where that is not allowed."""
    base = GROUPS / "cpu" if (GROUPS / "cpu").is_dir() else GROUPS
    group = base / f"hicray-test-{os.getpid()}"
    try:
        (group / "job").mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"no control group can be made here ({error})")
    yield group
    (group / "job").rmdir()
    group.rmdir()


def layout(root: Path, groups: str, files: dict[str, str]) -> Path:
    """Write what /proc/self/cgroup and files under /sys/fs/cgroup hold on some machine."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def test_cpus_are_those_that_the_process_may_use():
    code = "import os; os.sched_setaffinity(0, {0});"
    code += "from hicray.cluster.machine import cpus; print(cpus())"
    assert said(code) == "1"
    assert machine.cpus() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("quota", "cpus"), [(100_000, 1), (50_000, 1)])
def test_a_groups_quota_counts_in_the_groups_below_it(quota, cpus):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one CPU is all there is")
    with control_group() as group:
        if not (group / "cpu.cfs_quota_us").exists():
            pytest.skip("control groups of version 2 need root's leave for their CPUs")
        (group / "cpu.cfs_quota_us").write_text(str(quota))
        own = f"import os; open('{group}/job/cgroup.procs', 'w').write(str(os.getpid()))"
        assert said(f"{own}; from hicray.cluster.machine import cpus; print(cpus())") == str(cpus)


LAYOUTS = {  # /proc/self/cgroup, files under /sys/fs/cgroup, CPUs of at most many
    "systemd, CPUQuota=": (
        "0::/system.slice/job.scope",
        {"system.slice/cpu.max": "max 100000", "system.slice/job.scope/cpu.max": "150000 100000"},
        1,
    ),
    "a slice above": ("0::/a/b", {"a/cpu.max": "100000 100000", "a/b/cpu.max": "max 100000"}, 1),
    "a container, version 2": ("0::/", {"cpu.max": "100000 100000"}, 1),
    "a container, version 1": (
        "4:cpuacct,cpu:/docker/0a\n0::/docker/0a",
        {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"},
        1,
    ),
    "less than one": ("0::/", {"cpu.max": "20000 100000"}, 1),
    "no limit": ("0::/", {"cpu.max": "max 100000"}, None),
    "more than there are": ("0::/", {"cpu.max": "99900000 100000"}, None),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_of_control_groups_is_read(name, tmp_path, monkeypatch):
    groups, files, cpus = LAYOUTS[name]
    root = layout(tmp_path, groups, {f"sys/fs/cgroup/{k}": v for k, v in files.items()})
    assert machine.cpus(root) == (cpus or len(os.sched_getaffinity(0)))


def test_a_job_folder_of_a_long_name_holds_rays_files_under_a_short_one(tmp_path, monkeypatch):
    folder = tmp_path / LONG
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    short = machine.ray_folder()
    assert short == machine.ray_folder()
    assert short.parent.resolve() == folder.resolve()
    longest = short / "session_2026-01-01_00-00-00_000000_4194304" / "sockets"
    longest.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(str(longest / "plasma_store"))
    assert (folder / "ray").is_dir()


def test_a_folder_of_a_short_name_is_rays_own(monkeypatch):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.delenv("TMPDIR", raising=False)
    assert machine.ray_folder() == Path("/tmp/ray")
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="h") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        assert machine.ray_folder() == Path(folder) / "ray"
        monkeypatch.setenv("TMPDIR", "")
        assert machine.ray_folder() == Path("/tmp/ray")
        monkeypatch.setenv("RAY_TMPDIR", folder)
        assert machine.ray_folder() == Path(folder) / "ray"


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_temporary_folder_that_is_not_there_is_one_sentence(name, monkeypatch, tmp_path):
    monkeypatch.setenv(name, str(tmp_path / "gone"))
    with pytest.raises(UserError, match=f"{name}=.*gone is no folder that can be written; make it"):
        machine.ray_folder()
    assert not (tmp_path / "gone").exists()


@pytest.mark.slow
def test_ray_starts_on_the_cpus_and_in_the_folder_of_a_job(tmp_path):
    folder = tmp_path / LONG
    folder.mkdir()
    code = f"import os; os.sched_setaffinity(0, {{0}})\n{STARTED}"
    told = run([sys.executable, "-c", code], tmp_path / "log", TMPDIR=str(folder))
    assert "CPUs 2.0" in told  # one, and a logical one for Ray Data
    assert "a task ran" in told
    assert list(folder.glob("ray/session_*/logs"))


@pytest.mark.slow
def test_a_ray_that_does_not_come_up_is_one_sentence(tmp_path):
    # The head's own table of nodes answers after 45 s, as on a machine that is far too busy.
    slow = "NodeInfoGcsService.grpc_server.RegisterNode=45000000:45000000"
    words = [sys.executable, "-c", STARTED]
    told = run(words, tmp_path / "log", code=2, RAY_testing_asio_delay_us=slow)
    assert told.splitlines()[-1].startswith("hicray: Ray did not start, twice within its 30 s: ")
    assert "Traceback" not in told
