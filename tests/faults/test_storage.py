"""Storage that fails, fills up or is a bucket: the same command goes on and ends as undisturbed.

One training run of one cell stands for a search; its encoder is frozen, so that tokens are stored.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from hicray.io.copies import local, publish
from hicray.io.storage import Location, locate, matching
from hicray.predict.network import find
from hicray.simulation.simulate import Simulation
from tests.buckets import BUCKET, Bucket
from tests.faults.processes import TRAIN, Command, data_options, hicray, run
from tests.published import published_file

pytestmark = pytest.mark.slow
EPOCHS = 3
REFUSED = 2


@pytest.fixture(scope="module")
def train(tiny_simulation: Simulation, tmp_path_factory):
    """Return the command that trains seq at one gap, by its storage and where its maps are."""
    weights = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    published_file(weights, window=64)
    encoder = ["--encoder", "frozen", "--encoder-weights", weights, "--epochs", EPOCHS]

    def command(where: Location, maps: Location = tiny_simulation.folder):
        options = [
            word.replace(str(tiny_simulation.folder), str(maps))
            for word in data_options(tiny_simulation)
        ]
        return hicray("train", *options, *TRAIN, *encoder, "--storage", where)

    return command


@pytest.fixture(scope="module")
def undisturbed(train, tmp_path_factory) -> Path:
    """A storage folder whose run nothing interrupted."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    run(train(folder), folder.parent / "log")
    return folder


def checkpoints(place: Location) -> dict[int, Location]:
    """Return the checkpoints of the only trial by their epoch."""
    found = {}
    for one in matching(place, "trials/*/checkpoint_*/trial.json"):
        with contextlib.suppress(OSError, ValueError):  # being written, or taken away
            found[len(json.loads(one.read_text())["history"])] = one.parent
    return found


def history(place: Location) -> list[dict[str, float]]:
    """Return the last checkpoint's history, without times and notes."""
    own = json.loads((checkpoints(place)[EPOCHS] / "trial.json").read_text())["history"]
    passing = ("seconds", "data_wait_fraction", "note")
    return [{name: value for name, value in epoch.items() if name not in passing} for epoch in own]


def assert_same_result(found: Location, expected: Location):
    assert history(found) == history(expected)
    ours, theirs = (
        load_file(local(checkpoints(place)[EPOCHS] / "weights.safetensors"))
        for place in (found, expected)
    )
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)


def kill_after(words: list[str], epochs: int, place: Location, log: Path, **env: str):
    """Kill a command when so many epochs have ended and Ray Train has noted the checkpoint."""

    def ended() -> bool:
        (last, newest) = max(checkpoints(place).items(), default=(0, place))
        notes = matching(place, "trials/*/checkpoint_manager_snapshot.json")
        return last >= epochs and any(newest.name in note.read_text() for note in notes)

    with Command(words, log, **env) as command:
        command.wait_for(ended)


@contextlib.contextmanager
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


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)


def sentence(said: str) -> str:
    """Return the only sentence that a refusal says."""
    (line,) = [line for line in said.splitlines() if line.startswith("hicray: ")]
    return line


def test_a_bucket_serves_as_a_folder_does(
    train, undisturbed, tiny_simulation, bucket: Bucket, tmp_path
):
    """Maps, shards, tokens, checkpoints, search state and report in a bucket; killed once."""
    place, maps = locate(f"s3://{BUCKET}/run"), locate(f"s3://{BUCKET}/maps")
    publish(tiny_simulation.folder, maps)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    words = train(place, maps)
    kill_after(words, 1, place, tmp_path / "log", MLFLOW_TRACKING_URI=uri)
    tokens = bucket.names("run/embeddings")
    said = run(words, tmp_path / "log", MLFLOW_TRACKING_URI=uri)
    assert_same_result(place, undisturbed)
    assert tokens
    assert bucket.names("run/embeddings") == tokens
    for path in (undisturbed / "shards").glob("*.parquet"):
        assert (place / "shards" / path.name).read_bytes() == path.read_bytes()
    keys = bucket.names("run")
    assert any(key.startswith("run/search/") for key in keys)
    said += run(hicray("compare", "--storage", place, "--tracking-uri", uri), tmp_path / "compare")
    assert "nothing can be said" in (place / "report" / "compare.html").read_text()
    (trial,) = {one.parent for one in checkpoints(place).values()}
    assert find(str(trial)).open().module.state_dict()
    assert bucket.secret not in said
    for content in (
        (tmp_path / "mlflow.db").read_bytes(),
        *(bucket.client().get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys),
    ):
        assert bucket.secret.encode() not in content


def test_a_full_disk_is_said_while_preparing_and_the_same_command_goes_on(
    undisturbed, tiny_simulation, tmp_path
):
    storage_ = tmp_path / "small" / "run"
    words = hicray("prepare", *data_options(tiny_simulation), "--storage", storage_)
    with mounted(tmp_path / "small", "300k") as disk:
        said = run(words, tmp_path / "log", REFUSED)
        assert "No space left on device" in sentence(said)
        assert not (storage_ / "shards" / "manifest.json").exists()
        remount(disk, "size=50m")
        run(words, tmp_path / "log")
        for path in (undisturbed / "shards").glob("*.parquet"):
            assert (storage_ / "shards" / path.name).read_bytes() == path.read_bytes()
        assert not matching(storage_ / "shards", "*.unfinished")


def test_a_read_only_folder_is_refused_before_work_starts(train, tmp_path):
    with mounted(tmp_path / "disk", "10m") as disk:
        remount(disk, "ro")
        said = run(train(disk / "run"), tmp_path / "log", REFUSED)
        assert "Read-only file system" in sentence(said)
        assert "Traceback" not in said


def test_training_goes_on_after_a_full_disk_and_after_a_damaged_checkpoint(
    train, undisturbed, tmp_path
):
    words, place = train(tmp_path / "small" / "run"), tmp_path / "small" / "run"
    with mounted(tmp_path / "small", "60m") as disk:
        kill_after(words, 1, place, tmp_path / "log")
        free = os.statvfs(disk)
        (disk / "filler").write_bytes(b"\0" * (free.f_bavail * free.f_frsize - (200 << 10)))
        said = run(words, tmp_path / "log", REFUSED)
        assert "No space left on device" in sentence(said)
        (disk / "filler").unlink()
        kill_after(words, 2, place, tmp_path / "log")
        newest = checkpoints(place)[2]
        content = (newest / "weights.safetensors").read_bytes()
        (newest / "weights.safetensors").write_bytes(content[: len(content) // 2])
        searcher = max(place.glob("search/*/*/searcher-state-*.pkl"))
        searcher.write_bytes(searcher.read_bytes()[:-10])
        said = run(words, tmp_path / "log")
        assert f"{newest} is damaged: weights.safetensors" in said
        assert f"{searcher.parent} is damaged: {searcher.name} is cut short" in said
        assert_same_result(place, undisturbed)
