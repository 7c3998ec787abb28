"""Storage that fails, fills up or is a bucket: the same command goes on and ends as undisturbed.

One training run of one cell stands for a search; its encoder is frozen, so that tokens are stored.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from safetensors.torch import load_file

from hicray import storage
from hicray.evaluation.network import find
from hicray.maps.simulate import Simulation
from hicray.storage import Location, locate, matching
from tests.buckets import BUCKET, Bucket
from tests.published import published_file

pytestmark = pytest.mark.slow
EPOCHS = 3
SHARDS = {
    "--fine-bin-size": "128",
    "--coarse-bin-sizes": "512",
    "--window-bins": "64",
    "--split": "val=chr5;test=chr6",
}


def hicray(verb: str, *words: str) -> list[str]:
    return [str(Path(sys.executable).parent / "hicray"), verb, *words]


def run(words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=400,
        env=os.environ | environment,
    )  # fmt: skip


def pairs(options: dict[str, str]) -> list[str]:
    return [word for pair in options.items() for word in pair]


@pytest.fixture(scope="module")
def train(tiny_simulation: Simulation, tmp_path_factory):
    """Return the command that trains seq at one gap, by its storage."""
    weights = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    published_file(weights, window=64)

    def command(where: Location, folder: Location = tiny_simulation.folder, **more: str):
        options = SHARDS | {
            "--contacts": str(folder / tiny_simulation.contacts[0].name),
            "--genome": str(folder / tiny_simulation.genome.name),
            "--storage": str(where),
            "--encoder": "frozen",
            "--encoder-weights": str(weights),
            "--epochs": str(EPOCHS),
            "--batch-size": "8",
            "--accumulate": "1",
            "--base-learning-rate": "0.032",
            "--depth": "1",
        }
        return hicray("train", *pairs(options | more))

    return command


@pytest.fixture(scope="module")
def undisturbed(train, tmp_path_factory) -> Path:
    """A storage folder whose run nothing interrupted."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    done = run(train(folder))
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def checkpoints(place: Location) -> list[Location]:
    return [one.parent for one in matching(place, "trials/*/checkpoint_*/trial.json")]


def history(place: Location) -> list[dict[str, float]]:
    """Return the longest history of the only trial, without times and notes."""
    found = [json.loads((one / "trial.json").read_text())["history"] for one in checkpoints(place)]
    timed = ("seconds", "data_wait_fraction", "note")
    return [
        {name: value for name, value in epoch.items() if name not in timed}
        for epoch in max(found, key=len)
    ]


def last_weights(place: Location):
    lengths = {
        len(json.loads((one / "trial.json").read_text())["history"]): one
        for one in checkpoints(place)
    }
    return load_file(storage.local(lengths[EPOCHS] / "weights.safetensors"))


def assert_same_result(found: Location, expected: Location):
    assert history(found) == history(expected)
    ours, theirs = last_weights(found), last_weights(expected)
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)


def killed_when(words: list[str], ready, log: Path, **environment: str) -> None:
    """Start a command and kill it with all its processes as soon as something is there."""
    with (
        log.open("w") as file,
        subprocess.Popen(
            words, start_new_session=True, stdout=file, stderr=file, env=os.environ | environment
        ) as process,
    ):
        deadline = time.monotonic() + 300
        while not ready() and time.monotonic() < deadline:
            assert process.poll() is None, log.read_text()[-3000:]
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """Mount a small disk."""
    if os.getuid() or sys.platform != "linux":
        pytest.skip("mounting a small disk takes root on Linux")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("hicray: ")]
    return line


def test_a_bucket_serves_as_a_folder_does(
    train, undisturbed, tiny_simulation, bucket: Bucket, tmp_path
):
    """Maps, shards, tokens, checkpoints, search state and report in a bucket; killed once."""
    place, maps = locate(f"s3://{BUCKET}/run"), locate(f"s3://{BUCKET}/maps")
    storage.publish(tiny_simulation.folder, maps)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    words = train(place, maps, **{"--tracking-uri": uri})
    killed_when(words, lambda: len(checkpoints(place)) > 0, tmp_path / "log")
    tokens = set(bucket.names("run/embeddings"))
    done = run(words)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same_result(place, undisturbed)
    assert set(bucket.names("run/embeddings")) == tokens
    keys = set(bucket.names("run"))
    ours = {f"run/{path.relative_to(undisturbed)}" for path in undisturbed.glob("shards/*")}
    assert ours <= keys
    assert any(key.startswith("run/search/") for key in keys)
    compared = run(hicray("compare", "--storage", str(place), "--tracking-uri", uri))
    assert compared.returncode == 0, compared.stderr[-3000:]
    assert "too few windows" in (place / "report" / "compare.html").read_text()
    best = max(
        checkpoints(place),
        key=lambda one: len(json.loads((one / "trial.json").read_text())["history"]),
    )
    assert find(str(best)).open().module.state_dict().keys()
    said = [done.stdout, done.stderr, compared.stdout, compared.stderr]
    said += [path.read_text(errors="ignore") for path in (tmp_path / "log", tmp_path / "mlflow.db")]
    said += [str(bucket.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in keys]
    assert not any(bucket.secret in text for text in said)


def test_a_full_disk_is_said_while_preparing_and_the_same_command_goes_on(
    train, undisturbed, tmp_path
):
    words = [word if word != "train" else "prepare" for word in train(tmp_path / "small" / "run")]
    words = words[: words.index("--encoder")]
    with mounted(tmp_path / "small", "300k") as disk:
        assert "No space left on device" in one_sentence(run(words))
        assert not (disk / "run" / "shards" / "manifest.json").exists()
        subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
        assert run(words).returncode == 0
        for path in (undisturbed / "shards").glob("*.parquet"):
            assert (disk / "run" / "shards" / path.name).read_bytes() == path.read_bytes()
        assert not matching(disk / "run" / "shards", "*.unfinished")


def test_a_read_only_folder_is_refused_before_work_starts(train, tmp_path):
    with mounted(tmp_path / "disk", "10m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        began = time.monotonic()
        assert "Read-only file system" in one_sentence(run(train(disk / "run")))
        assert time.monotonic() - began < 60


def test_training_goes_on_after_a_full_disk_and_after_a_damaged_checkpoint(
    train, undisturbed, tmp_path
):
    with mounted(tmp_path / "small", "60m") as disk:
        words, place = train(disk / "run"), disk / "run"
        killed_when(words, lambda: len(checkpoints(place)) > 0, tmp_path / "log")
        free = os.statvfs(disk)
        (disk / "filler").write_bytes(b"\0" * (free.f_bavail * free.f_frsize))
        assert "No space left on device" in one_sentence(run(words))
        (disk / "filler").unlink()
        killed_when(words, lambda: len(history(place)) > 1, tmp_path / "log")
        newest = max(checkpoints(place), key=lambda one: one.name)
        weights = newest / "weights.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
        done = run(words)
        assert done.returncode == 0, done.stderr[-3000:]
        assert f"{newest} is damaged" in done.stderr
        assert_same_result(place, undisturbed)
