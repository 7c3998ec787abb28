"""What the searcher suggests: as many distinct configurations in every arm, alone and at once."""

import random
from pathlib import Path

import pytest
from ray import tune
from ray.tune.search.searcher import Searcher

from hicray import config as cfg
from hicray.training.searcher import DistinctSearch
from hicray.training.space import Cell, SearchConfig

SEEDS = range(12)
TRIALS = 16


def make(sequence: cfg.SequenceMode, seed: int, **choices: tuple) -> DistinctSearch:
    # The report's network and loss: few choices, which a test can try all of.
    train = cfg.TrainConfig(loss="report", ssim_weight=0.1)
    what = SearchConfig(model=cfg.ModelConfig(coarse_path="off"), train=train, seed=seed)
    cell = Cell(16_000, sequence)
    space, guess = cell.space(what) | choices, cfg.flatten(cell.first_guess(what))
    searcher = DistinctSearch(seed, [{name: guess[name] for name in space}])
    searcher.set_search_properties(
        "score", "max", {k: tune.choice(list(v)) for k, v in space.items()}
    )
    return searcher


def key(chosen: dict) -> tuple:
    return tuple(sorted(chosen.items()))


def complete(searcher: DistinctSearch, trial: str, chosen: tuple) -> None:
    score = random.Random(repr(chosen)).random()
    searcher.on_trial_complete(trial, {"score": score, "training_iteration": 1})


def suggested(searcher: DistinctSearch, trials: int, at_once: int) -> list[tuple]:
    """Ask for trials, of which so many run at once; return all configurations in their order."""
    tried: list[tuple] = []
    running: list[tuple[str, tuple]] = []
    for number in range(trials):
        if len(running) == at_once:
            complete(searcher, *running.pop(0))
        chosen = key(searcher.suggest(f"trial {number}"))
        running.append((f"trial {number}", chosen))
        tried.append(chosen)
    return tried


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("sequence", ["off", "on"])
def test_every_arm_gets_as_many_distinct_configurations_as_trials(sequence, at_once):
    counts = [len(set(suggested(make(sequence, seed), TRIALS, at_once))) for seed in SEEDS]
    assert counts == [TRIALS] * len(SEEDS)


def test_the_first_guess_comes_first_and_the_same_seed_asks_for_the_same():
    first, again = (suggested(make("on", 3), TRIALS, 1) for _ in range(2))
    assert first == again
    assert dict(first[0])["train.base_learning_rate"] == cfg.TrainConfig().base_learning_rate
    assert suggested(make("on", 4), TRIALS, 1) != first


def test_the_whole_space_is_tried_and_then_no_more():
    searcher = make("off", 0)
    assert len(set(suggested(searcher, 25, 4))) == 25
    assert searcher.suggest("one more") == Searcher.FINISHED


def test_optuna_learns_from_what_was_drawn_for_it():
    """All of the space's scores reach the study, and no others."""
    searcher = make("off", 0)
    suggested(searcher, 25, 1)
    done = [trial for trial in searcher._ot_study.trials if trial.value is not None]
    assert len({key(trial.params) for trial in done}) == len(done) == 24


def test_what_an_interrupted_search_tried_is_not_tried_again(tmp_path: Path):
    searcher = make("off", 0)
    tried = [key(searcher.suggest(f"trial {number}")) for number in range(10)]
    searcher.save(str(tmp_path / "state.pkl"))
    again = make("off", 0)
    again.restore(str(tmp_path / "state.pkl"))
    for number, chosen in enumerate(tried):
        complete(again, f"trial {number}", chosen)
    more = [key(again.suggest(f"trial {number}")) for number in range(10, 25)]
    assert len({*tried, *more}) == 25
