"""What a kill or a full disk leaves of Ray Tune's own state, cut by hand."""

import pickle
import shutil
from pathlib import Path

import pytest
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from hicray.training.state import damage


def _report(chosen: dict[str, float]) -> None:
    tune.report({"score": chosen["x"]})


@pytest.fixture(scope="module", params=["searched", "grid"])
def state(request, local_ray, tmp_path_factory) -> Path:
    """The state of a search that ended."""
    folder = tmp_path_factory.mktemp("tune")
    searched = request.param == "searched"
    tune.Tuner(
        _report,
        param_space={"x": tune.choice([0.0, 1.0]) if searched else tune.grid_search([0.0])},
        tune_config=tune.TuneConfig(
            metric="score", mode="max", search_alg=OptunaSearch() if searched else None
        ),
        run_config=tune.RunConfig(name="cell", storage_path=str(folder), verbose=0),
    ).fit()
    return folder / "cell"


def test_whole_state_and_none_are_fine(state: Path):
    assert damage(state) == ""
    assert damage(state / "not there") == ""


def test_every_file_that_is_cut_or_missing_is_named(state: Path, tmp_path: Path):
    needed = [
        path
        for path in state.iterdir()
        if path.name.startswith(("tuner", "experiment_state", "search", "basic-variant"))
    ]
    assert len(needed) in (3, 4)
    for path in needed:
        copy = tmp_path / path.name
        shutil.copytree(state, copy)
        for part in (0, 0.5, 0.99):
            content = path.read_bytes()
            (copy / path.name).write_bytes(content[: int(len(content) * part)])
            assert damage(copy) == f"{path.name} is cut short"
        (copy / path.name).unlink()
        assert damage(copy).startswith("it has no ") or path.name == "tuner.pkl"


def test_a_state_without_a_trial_is_damaged(state: Path, tmp_path: Path):
    shutil.copytree(state, tmp_path / "cell")
    (file,) = (tmp_path / "cell").glob("experiment_state-*")
    file.write_text('{"trial_data": []}')
    assert damage(tmp_path / "cell") == f"{file.name} is cut short"


def test_trials_that_the_searcher_did_not_suggest_are_damage(state: Path, tmp_path: Path):
    """A kill between two of Tune's files; restored, it would suggest the same trial again."""
    shutil.copytree(state, tmp_path / "cell")
    for file in (tmp_path / "cell").glob("search_gen_state-*"):
        known = pickle.loads(file.read_bytes())
        file.write_bytes(pickle.dumps(known | {"counter": known["counter"] - 1}))
        assert damage(tmp_path / "cell") == "it has 1 trials where 0 were suggested"
