"""Configurations flatten, override and digest."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicray.cli.defaults import FROM_SCRATCH, PUBLISHED, REAL, SIMULATED
from hicray.cli.main import defaults_of
from hicray.config import (
    ModelConfig,
    TrainConfig,
    TrialConfig,
    UserError,
    digest,
    flatten,
    override,
)

TRIAL = TrialConfig(coarse_bin_size=8_000, model=ModelConfig(), train=TrainConfig())


def test_flattened_names_are_dotted():
    leaves = flatten(TRIAL)
    assert leaves["coarse_bin_size"] == 8_000
    assert leaves["model.depth"] == ModelConfig().depth


@given(st.integers(1, 9), st.floats(0, 1))
def test_override_changes_what_is_named_and_nothing_else(depth, weight):
    changed = override(TRIAL, {"model.depth": depth, "train.ssim_weight": weight})
    expected = flatten(TRIAL) | {"model.depth": depth, "train.ssim_weight": weight}
    assert flatten(changed) == expected


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match=r"unknown setting 'model\.deph'.*model\.depth"):
        override(TRIAL, {"model.deph": 3})


@dataclass(frozen=True)
class Leaf:
    value: object = 0


@given(st.lists(st.one_of(st.integers(), st.text(), st.floats(allow_nan=False)), unique=True))
def test_the_digest_changes_with_any_value_and_only_then(values):
    assert len({digest(Leaf(value)) for value in values}) == len({repr(v) for v in values})
    assert digest(TRIAL) == digest(replace(TRIAL))
    assert digest(TRIAL) != digest(replace(TRIAL, coarse_bin_size=16_000))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--epochs 7", SIMULATED),
        ("--genome contacts", SIMULATED),
        ("train --contacts a.mcool b.mcool --genome g.fa", REAL),
        ("--contacts=a.mcool", REAL),
    ],
)
def test_defaults_are_those_of_own_maps_or_of_the_simulation(words, expected):
    assert defaults_of(words.split()) == expected


@pytest.mark.parametrize("word", ["--encoder-weights w.pth", "--encoder_weights=w.pth"])
def test_published_weights_are_tuned_at_their_own_rate(word):
    found = defaults_of([*word.split(), "--contacts", "a.mcool", "--help"])
    assert found == replace(REAL, train=replace(REAL.train, base_learning_rate=PUBLISHED))
    assert PUBLISHED < REAL.train.base_learning_rate == FROM_SCRATCH
