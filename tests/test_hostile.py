"""Files of strangers: none of their code is run, none of their names leads out of a folder."""

import io
import json
import pickle
import sys
from dataclasses import asdict
from pathlib import Path

import cooler
import mlflow
import mlflow.pytorch
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.models import Model

from hicray.config import DataConfig, ModelConfig, UserError
from hicray.io.copies import local
from hicray.model import checkpoint, hicfoundation
from hicray.predict.network import find
from hicray.tracking.logged import PROGRESS, log_model, read_model
from hicray.tracking.stores import default_uri, use
from hicray.tracking.track import TRIAL, Store
from hicray.windows.manifest import MANIFEST, read_manifest
from hicray.windows.shards import prepare
from tests.buckets import BUCKET
from tests.shared_data import write_fasta
from tests.trained import trained_for, write_checkpoint

WINDOW = 32


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, crater: Path) -> None:
        self.crater = crater

    def __reduce__(self):
        return Path.touch, (self.crater,)


@pytest.fixture
def crater(tmp_path):
    """The file that a bomb leaves; there must be none in the end."""
    path = tmp_path / "crater"
    yield path
    assert not path.exists()


def test_the_bomb_works(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "crater")))
    assert (tmp_path / "crater").exists()


@pytest.fixture
def trained(tmp_path):
    """A checkpoint of a small network, and the map that it is for."""
    sizes = {"chrA": 60_000, "chrB": 40_300}
    uri = _map(tmp_path / "map.cool", sizes)
    known = trained_for(uri, 1_000, 1_000, WINDOW)
    place = write_checkpoint(tmp_path / "checkpoint", ModelConfig(sequence="off"), known)
    return place, uri


def _map(path: Path, sizes: dict[str, int]) -> str:
    rng = np.random.default_rng(2)
    bins = cooler.binnify(pd.Series(sizes), 1_000)
    bins["weight"] = 1.0
    rows, cols = np.triu_indices(len(bins))
    counts = 1 + rng.poisson(20 / (1 + cols - rows))
    pixels = pd.DataFrame({"bin1_id": rows, "bin2_id": cols, "count": counts})
    cooler.create_cooler(str(path), bins, pixels, ordered=True)
    return str(path)


def disguise(place: Path, name: str, content: bytes) -> None:
    """Replace a file of a checkpoint, and its checksum with it."""
    (place / name).write_bytes(content)
    note = place / checkpoint.TRIAL
    fields = json.loads(note.read_text())
    fields["sha256"][name] = checkpoint._sha256(place / name)
    note.write_text(json.dumps(fields))


def packed(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_an_optimizer_that_holds_code_is_refused(trained, crater):
    place, _ = trained
    disguise(place, checkpoint.OPTIMIZER, packed({"state": Bomb(crater)}))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    with pytest.raises(UserError, match=r"optimizer\.pt holds code, which hicray never runs"):
        checkpoint.load_optimizer(place, optimizer)


@pytest.mark.parametrize("name", ["weights.pth.tar", "weights.pth", "weights.safetensors"])
def test_published_weights_that_hold_code_are_refused(hicray, trained, crater, tmp_path, name):
    _, uri = trained
    path = tmp_path / name
    path.write_bytes(packed({"model": {"cls_token": Bomb(crater)}}))
    with pytest.raises(UserError, match="is not a readable checkpoint"):
        hicfoundation.load(path)
    sizes = ["--bin-size", "1000", "--fine-bin-size", "1000"]
    given = ["--checkpoint", path, "--contacts", uri, "--out", "new.mcool", *sizes]
    code, _, said = hicray("enhance", *given)
    assert code == 2
    assert "is not a readable checkpoint" in said.splitlines()[-1]


def test_a_checkpoint_whose_weights_are_a_pickle_is_refused(trained, crater):
    place, _ = trained
    disguise(place, checkpoint.WEIGHTS, packed({"cls_token": Bomb(crater)}))
    with pytest.raises(UserError, match="is not a readable checkpoint"):
        find(str(place)).open()


class Plain(torch.nn.Module):
    """Adds one."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image + 1


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(default_uri(tmp_path), tmp_path / "artifacts")


def _log_pickle(module: torch.nn.Module, code: Path, folder: Path) -> None:
    """Save what MLflow itself would unpickle, with modules that it would import, as ours."""
    mlflow.pytorch.save_model(
        module,
        str(folder),
        serialization_format="pickle",
        code_paths=[str(code)],
        pip_requirements=["torch"],
        metadata={PROGRESS: json.dumps({"trial": {}})},
    )


def test_a_logged_model_that_is_a_pickle_is_refused(store, crater, tmp_path, monkeypatch):
    module = Plain()
    module.trap = Bomb(crater)
    code = tmp_path / "timm"  # MLflow would put it before the installed packages
    code.mkdir()
    (code / "__init__.py").write_text(f"open({str(crater)!r}, 'w')")
    folder = tmp_path / "model"
    _log_pickle(module, code, folder)
    run = store.find_or_start(TRIAL, "hostile", {}, {})
    store.client.log_artifacts(run, str(folder), "model")
    uri = f"runs:/{run}/model"
    with pytest.raises(UserError, match="logged by an older hicray or another program"):
        read_model(uri, store.uri)
    assert not crater.exists()
    # It is dangerous: who opens it with MLflow's own function, and lets it, is hit.
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    # MLflow leaves the model's folder on the path, where other tests' processes would find it.
    monkeypatch.setattr(sys, "path", [*sys.path])
    use(store.uri)
    mlflow.pytorch.load_model(uri, weights_only=False)
    assert crater.exists()
    crater.unlink()


def test_of_a_logged_model_nothing_but_weights_is_read(store, trained):
    """A graph is a program: what stands in its place is not looked at."""
    place, _ = trained
    progress = checkpoint.read_progress(place)
    run = store.find_or_start(TRIAL, "graph", {}, {})
    module = torch.nn.Linear(4, 4).eval()
    uri = log_model(store, run, module, {"input": torch.rand(2, 4)}, asdict(progress))
    use(store.uri)
    folder = Path(mlflow.artifacts.download_artifacts(uri))
    (graph,) = folder.glob("data/*.pt2")
    graph.write_bytes(b"anything")
    read = read_model(uri, store.uri)
    assert torch.equal(read.weights["weight"], module.weight)
    assert checkpoint.progress_from(read.progress, uri) == progress
    assert Model.load(str(folder)).flavors["pytorch"]["model_data"] == "data"


@pytest.mark.parametrize("name", ["../stolen.parquet", "/etc/passwd", "a/b.parquet"])
def test_a_manifest_cannot_name_files_elsewhere(tiny_shards, tmp_path, name):
    folder, _ = tiny_shards
    fields = json.loads((folder / MANIFEST).read_text())
    fields["shards"][0]["file"] = name
    (tmp_path / MANIFEST).write_text(json.dumps(fields))
    with pytest.raises(UserError, match="which is no file of its folder"):
        read_manifest(tmp_path)


def test_names_of_chromosomes_stay_inside_the_folder(tmp_path, local_ray):
    odd = "../../../chrA"
    sizes = {odd: 150_000, "chr/B": 100_000, "..": 100_000}
    uri = _map(tmp_path / "map.cool", sizes)
    genome = write_fasta(tmp_path / "genome.fa", sizes)
    before = set(tmp_path.iterdir())
    data = DataConfig(
        contacts=(uri,),
        genome=str(genome),
        fine_bin_size=1_000,
        coarse_bin_sizes=(2_000,),
        window_bins=WINDOW,
        split="val=chr/B;test=..",
    )
    manifest = prepare(data, tmp_path / "in" / "this" / "folder")
    assert {split: manifest.num_windows(split) > 0 for split in ("train", "val", "test")}
    assert manifest.splits[odd] == "train"
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "in", tmp_path / "genome.fa.fai"}
    assert {path.name for path in (tmp_path / "in").iterdir()} == {"this"}
    assert {path.name for path in (tmp_path / "in" / "this").iterdir()} == {"folder"}


def test_objects_of_a_bucket_cannot_lie_outside_of_its_copy(bucket):
    for name in ("trial.json", "../../../../stolen/trial.json"):
        bucket.client().put_object(Bucket=BUCKET, Key=f"strange/checkpoint/{name}", Body=b"{}")
    with pytest.raises(UserError, match="would lie outside of a copy"):
        local(f"s3://{BUCKET}/strange/checkpoint")
    cache = Path(bucket.environment["XDG_CACHE_HOME"])
    assert not [path for path in cache.parent.rglob("*") if "stolen" in path.parts]
