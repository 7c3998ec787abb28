"""Which runs of a search are compared."""

from hicray.comparison.report import best_trials, refit_of, tried
from hicray.tracking.track import TrialRun
from hicray.training.record import BEST_OBJECTIVE
from hicray.training.refit import ENHANCE


def run(name, arm, score, *, seed=0, depth=3, gap="512->128", checkpoint="there"):
    return TrialRun(
        run_id=name,
        name=name,
        tags={"sequence": arm, "gap": gap, "checkpoint": checkpoint},
        params={"train.seed": str(seed), "model.depth": str(depth)},
        metrics={} if score is None else {BEST_OBJECTIVE: score},
    )


def test_the_best_configuration_of_the_searchs_seed_comes_with_its_other_seeds():
    trials = [
        run("a", "seq", 0.7, depth=1),
        run("b", "seq", 0.8, depth=2),
        run("b2", "seq", 0.6, depth=2, seed=2),
        run("b1", "seq", 0.9, depth=2, seed=1),
        run("other seed, other depth", "seq", 0.99, depth=5, seed=1),
        run("failed", "seq", None, depth=2, seed=3),
        run("undefined", "noseq", float("nan")),
        run("no checkpoint", "noseq", 0.9, checkpoint=""),
        run("c", "noseq", 0.5),
        run("other gap", "noseq", 0.9, gap="256->128"),
    ]
    found = best_trials(trials, "512->128", "0")
    assert {arm: [one.name for one in runs] for arm, runs in found.items()} == {
        "noseq": ["c"],
        "seq": ["b", "b1", "b2"],
    }


def test_configurations_are_counted_once_each_in_the_searchs_own_seed():
    trials = [
        run("a", "seq", 0.7, depth=1),
        run("failed", "seq", None, depth=2, checkpoint=""),
        run("the same again", "seq", 0.7, depth=1),
        run("other seed", "seq", 0.9, depth=1, seed=1),
        run("other gap", "seq", 0.9, depth=5, gap="256->128"),
        run("c", "noseq", 0.5),
    ]
    assert tried(trials, "512->128", "0") == {"noseq": 1, "seq": 2}


def refit(arm, line, *, at, gap="512->128"):
    one = run("refit", arm, None, gap=gap)
    tags = one.tags | ({ENHANCE: line} if line else {})
    return one._replace(tags=tags, params={"refit_epochs": "7"}, start_time=at)


def test_the_last_refit_that_has_ended_is_the_one_to_take_home():
    refits = [
        refit("seq", "enhance a\nenhance b", at=2),
        refit("noseq", "enhance old", at=1),
        refit("noseq", "", at=3),
        refit("noseq", "enhance other", at=4, gap="256->128"),
    ]
    said = refit_of(refits, "512->128")
    assert "a refit of seq at 512->128 bp" in said
    assert "for the 7 epochs after which seq was best" in said
    assert said.splitlines()[1:] == ["", "    enhance a", "    enhance b"]
    assert refit_of(refits[2:], "512->128") == ""
