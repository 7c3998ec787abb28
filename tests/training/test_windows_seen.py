"""Which windows an epoch sees, and from which strand: each one looked at as the network gets it."""

from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest

from hicray.config import ModelConfig, TrainConfig, TrialConfig
from tests.alone import COARSE
from tests.workers import loop_alone

TRIAL = TrialConfig(
    coarse_bin_size=COARSE,
    model=ModelConfig(depth=1, dna_channels=8),
    train=TrainConfig(epochs=2, batch_size=2, accumulate=1, base_learning_rate=0.0, hidden_dna=0.0),
)
OTHER = dict(zip("ACGTN", "TGCAN", strict=True))


@pytest.fixture
def loop(alone):
    return loop_alone(alone, TRIAL)


def watched(module):
    """Return what a network is given from now on."""
    given, forward = [], module.forward

    def keeping(**inputs):
        given.append(inputs)
        return forward(**inputs)

    module.forward = keeping
    return given


def bases_of(batches):
    """Tell windows apart by what the network is to correct."""
    return Counter(window.numpy().tobytes() for base in batches for window in base)


def test_validation_shows_every_window_of_its_set_once_and_no_other(loop, alone_shards):
    folder, manifest = alone_shards
    tables = [pq.read_table(folder / shard.file) for shard in manifest.files("val")]
    there = bases_of(loop.collate.decode(loop.collate.compact(table)).base for table in tables)
    given = watched(loop.bare)
    scores = loop.validate()
    assert bases_of(inputs["base"] for inputs in given) == there
    assert set(there.values()) == {1}
    assert scores["windows"] == len(there) == manifest.num_windows("val")


def letters(codes):
    return "".join("ACGTN"[code] for code in codes.tolist())


def test_half_of_the_training_windows_are_seen_from_the_other_strand_maps_and_dna(loop):
    plain = list(loop.batches(loop.train_reader, loop.train_part, 0))
    seen = watched(loop.model)
    loop.epoch(0)
    flipped = []
    for batch, given in zip(plain, seen[: len(plain)], strict=True):
        for i in range(len(batch)):
            own, other = batch.base[i].numpy(), batch.base[i].numpy()[::-1, ::-1].T
            dna = letters(batch.row_bases[i])
            flipped.append(not np.array_equal(given["base"][i], own))
            if flipped[-1]:
                assert np.array_equal(given["base"][i], other)
                dna = "".join(OTHER[base] for base in reversed(dna))
            assert letters(given["row_bases"][i]) == dna
    assert 0.25 < np.mean(flipped) < 0.75
