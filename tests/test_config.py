"""Configurations flatten, override and digest."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
