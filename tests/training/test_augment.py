"""What training windows go through, against what was drawn."""

from dataclasses import replace

import pytest
import torch

from hicray.maps.genome import N
from hicray.training.augment import augmented
from tests.training.test_train import TRIAL, local_data, make_loop

PLAIN = replace(TRIAL.train, reverse_complement=False, hidden_dna=0.0)


@pytest.fixture(scope="module")
def batch(tiny_shards):
    loop = make_loop(local_data(tiny_shards))
    return next(loop.batches(loop.train_reader, loop.train_part))


def seeded(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def hidden(batch) -> list[bool]:
    return (batch.row_bases == N).all(dim=1).tolist()


def test_nothing_is_done_that_was_not_asked_for(batch):
    same = augmented(batch, PLAIN, seeded())
    assert torch.equal(same.row_bases, batch.row_bases)
    assert torch.equal(same.target, batch.target)


def test_the_asked_share_of_windows_loses_its_dna_and_no_map_changes(batch):
    config = replace(PLAIN, hidden_dna=0.5)
    found = [augmented(batch, config, seeded(number)) for number in range(40)]
    shares = [hidden(one) for one in found]
    assert sum(map(sum, shares)) / (40 * len(batch)) == pytest.approx(0.5, abs=0.1)
    for one, lost in zip(found, shares, strict=True):
        assert torch.equal(one.target, batch.target)
        kept = ~torch.tensor(lost)
        assert torch.equal(one.row_bases[kept], batch.row_bases[kept])
    assert all(hidden(augmented(batch, replace(PLAIN, hidden_dna=1.0), seeded())))


def test_both_axes_of_a_window_lose_their_dna_together(batch):
    aside = replace(batch, col_bases=batch.row_bases.flip(1))
    found = augmented(aside, replace(PLAIN, hidden_dna=0.5), seeded())
    assert (found.col_bases == N).all(dim=1).tolist() == hidden(found)


def test_arms_without_dna_flip_the_same_windows(batch):
    config = replace(TRIAL.train, hidden_dna=0.5)
    bare = replace(batch, row_bases=None)
    random, other = seeded(), seeded()
    for _ in range(3):
        with_dna, without = augmented(batch, config, random), augmented(bare, config, other)
        assert torch.equal(with_dna.target, without.target)
        assert without.row_bases is None
