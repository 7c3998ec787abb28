"""Runs in a real MLflow store: found again, never doubled; models that open without pickle."""

import os
import shlex
from pathlib import Path

import mlflow
import mlflow.pytorch
import pytest
import torch

from hicray.config import ModelConfig, UserError
from hicray.figures import loss_curves
from hicray.model.enhancer import Enhancer
from hicray.tracking.logged import log_model, read_model
from hicray.tracking.stores import default_uri, ui_command, use
from hicray.tracking.track import SEARCH, TRIAL, Store, open_store


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    return Store(default_uri(folder), folder / "artifacts")


def test_a_run_is_found_again_by_its_name(store):
    first = store.find_or_start(SEARCH, "search-a", {"x": 1}, {"dataset": "d"})
    again = store.find_or_start(SEARCH, "search-a", {"x": 1}, {"dataset": "d"})
    other = store.find_or_start(SEARCH, "search-b", {"x": 1}, {"dataset": "d"})
    assert first == again != other


def test_the_same_trial_of_two_searches_is_two_runs(store):
    parents = [store.find_or_start(SEARCH, f"parent-{i}", {}, {}) for i in range(2)]
    runs = {
        store.find_or_start(TRIAL, "seq-1", {}, {"mlflow.parentRunId": parent})
        for parent in parents
    }
    assert len(runs) == 2
    assert next(run.run_id for run in store.trials(parents[0])) in runs


def test_metrics_keep_their_epoch_as_step(store):
    run = store.find_or_start(TRIAL, "steps", {}, {})
    for epoch, value in ((1, 0.5), (2, 0.25)):
        store.log(run, {"val_loss": value, "note": "text", "flag": True}, epoch)
    assert store.last_step(run, "val_loss") == 2
    assert store.curve(run, "val_loss") == [0.5, 0.25]
    assert set(store.run(run).metrics) == {"val_loss"}


def test_figures_and_texts_are_kept(store):
    run = store.find_or_start(TRIAL, "figures", {}, {})
    store.figure(run, loss_curves({"a": {"train": [2.0, 1.0]}}), "loss_curves.png")
    store.text(run, "table", "compare.md")
    names = {item.path for item in store.client.list_artifacts(run)}
    assert names == {"loss_curves.png", "compare.md"}


@pytest.mark.parametrize("sequence", ["off", "on", "tracks"])
def test_a_logged_model_opens_and_predicts_the_same(store, sequence):
    config = ModelConfig(sequence=sequence, depth=1, dna_channels=8, tracks=("ctcf=c.bw",))
    model = Enhancer(config, window_bins=32, bin_size=16, factor=2).eval()
    inputs = {
        "image": torch.rand(2, 3, 32, 32),
        "total_reads": torch.tensor([1e6, 2e6]),
        "base": torch.rand(2, 32, 32),
        "expected": torch.rand(2, 32, 32),
        "evidence": torch.rand(2, 5, 16, 16),
        "diagonal": torch.zeros(2, dtype=torch.int64),
    }
    if sequence == "on":
        inputs["row_bases"] = torch.randint(0, 5, (2, 32 * 16)).to(torch.uint8)
    if sequence == "tracks":  # what forward takes before them is not there
        inputs["row_tracks"] = torch.rand(2, 2, 32, 2)
    torch.nn.init.normal_(model.head.pixels.out.weight, std=0.1)
    run = store.find_or_start(TRIAL, f"model-{sequence}", {}, {})
    uri = log_model(store, run, model, inputs, {"plan": "of this model"})
    opened = mlflow.pytorch.load_model(uri)
    signature = mlflow.models.get_model_info(uri).signature
    assert [spec.name for spec in signature.inputs] == list(inputs)
    three = {name: torch.cat([value, value[:1]]) for name, value in inputs.items()}
    with torch.no_grad():
        assert torch.allclose(opened(*three.values()), model(**three), atol=1e-5)
    folder = Path(mlflow.artifacts.download_artifacts(uri))
    assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pth")]
    assert log_model(store, run, model, inputs, {}) == uri
    assert (
        len(store.client.search_logged_models([store.experiment()], f"source_run_id = '{run}'"))
        == 1
    )
    (output,) = store.client.get_run(run).outputs.model_outputs
    assert uri.endswith(output.model_id)
    again = read_model(uri, store.uri)
    assert again.progress == {"plan": "of this model"}
    assert again.weights.keys() == model.state_dict().keys()
    assert all(torch.equal(again.weights[k], v) for k, v in model.state_dict().items())


def test_a_store_that_does_not_answer_is_said_in_one_sentence(tmp_path):
    with pytest.raises(UserError, match="check --tracking-uri"):
        Store("http://127.0.0.1:9", tmp_path).experiment()


def test_the_browse_line_names_the_store(tmp_path):
    program, *words = shlex.split(ui_command(default_uri(tmp_path)))
    assert Path(program).name == "mlflow"
    assert Path(program).is_file()
    assert words == ["ui", "--backend-store-uri", default_uri(tmp_path)]


def test_the_environment_names_the_store_where_no_option_does(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert open_store(tmp_path, "").uri == "http://127.0.0.1:9"
    assert open_store(tmp_path, "sqlite:////a.db").uri == "sqlite:////a.db"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert open_store(tmp_path, "").uri == default_uri(tmp_path)


@pytest.mark.parametrize("before", [None, "http://127.0.0.1:9"])
def test_a_store_in_use_is_not_named_to_later_processes(store, monkeypatch, before):
    """MLflow would write it into the environment, where another search would find it."""
    if before is None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", before)
    use(f"{store.uri}?again")
    use(store.uri)
    assert os.environ.get("MLFLOW_TRACKING_URI") == before
    assert mlflow.get_tracking_uri() == store.uri
