"""Mistakes in the code that a test must notice, each with the tests that do."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """One mistake.

    Attributes:
        name: What is wrong.
        file: Where, below ``hicray/``.
        old: What is right; it occurs there once.
        new: What takes its place.
        tests: Ids below ``tests/``; each of them fails.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_TRAIN = "training/train.py"
_GRADIENTS = "training/test_gradients.py"
_WORKER = "training/test_train_worker.py"

MUTANTS = (
    Mutant(
        "accumulated gradients not divided",
        _TRAIN, "(value * scale).backward()", "value.backward()",
        (f"{_GRADIENTS}::test_accumulated_gradients_are_the_gradient_of_the_mean_over_all_windows",),
    ),
    Mutant(
        "clipping off",
        _TRAIN, "self.bare.parameters(), config.clip)", "self.bare.parameters(), math.inf)",
        (f"{_GRADIENTS}::test_a_gradient_is_clipped_to_its_largest_norm_and_keeps_its_direction",),
    ),
    Mutant(
        "unusable pixels are learnt from",
        _TRAIN, "usable=batch.usable,", "usable=torch.ones_like(batch.usable),",
        (f"{_GRADIENTS}::test_accumulated_gradients_are_the_gradient_of_the_mean_over_all_windows",),
    ),
    Mutant(
        "the learning rate's schedule begins anew in every epoch",
        _TRAIN, "done = epoch * per_epoch + step", "done = step",
        (f"{_GRADIENTS}::test_the_rate_rises_and_falls_once_in_all_epochs",),
    ),
    Mutant(
        "several workers' network not wrapped",
        _TRAIN, "ray.train.torch.prepare_model(bare)", "bare",
        (f"{_WORKER}::test_two_workers_learn_what_one_learns_from_their_windows",),
    ),
    Mutant(
        "gradients of two workers never exchanged",
        _TRAIN, "and not moves:", "and True:",
        (f"{_WORKER}::test_two_workers_learn_what_one_learns_from_their_windows",),
    ),
    Mutant(
        "optimizer not restored",
        _TRAIN, "checkpoint.load_optimizer(folder, optimizer)", "pass",
        (f"{_WORKER}::test_a_run_that_was_killed_ends_where_an_undisturbed_one_does",),
    ),
    Mutant(
        "the optimizer's state read and dropped",
        "training/checkpoint.py", "optimizer.load_state_dict(state)", "pass",
        (f"{_WORKER}::test_a_run_that_was_killed_ends_where_an_undisturbed_one_does",),
    ),
    Mutant(
        "every training seed starts from the same weights",
        _TRAIN, "torch.manual_seed(trial.train.seed)", "torch.manual_seed(0)",
        (f"{_WORKER}::test_a_run_begins_with_its_seeds_weights",),
    ),
)  # fmt: skip
