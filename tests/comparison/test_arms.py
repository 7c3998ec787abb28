"""All rows of a gap, from networks that were trained for a moment; and by the truth."""

from dataclasses import fields, replace

import numpy as np
import pytest
import ray
import torch
from planted.truth import noise_free, read_motif

from hicray.comparison.arms import describe, load, score_arms, windows_of
from hicray.comparison.results import (
    HALVES,
    MAPLESS,
    RATES,
    SEQ,
    SHUFFLED,
    SPLIT,
    SWAPPED,
    UNTRAINED,
)
from hicray.config import ModelConfig, TrainConfig, TrialConfig
from hicray.evaluation.baselines import baselines
from hicray.evaluation.rivals import BILINEAR, CEILING, GAUSSIAN, NOISE_AWARE, RIDGE
from hicray.evaluation.window_set import band_score
from hicray.maps.genome import read_packed
from hicray.metrics.paired import paired_difference
from hicray.metrics.scores import OBJECTIVE
from hicray.model.checkpoint import read_progress
from hicray.predict.predictors import model_predictor
from hicray.training.data import Data
from hicray.training.sweep import sweep
from hicray.windows.manifest import GENOME
from hicray.windows.scales import from_network
from hicray.windows.stream import open_windows

COARSE = 512
TRAIN = TrainConfig(epochs=1, batch_size=8, accumulate=1, base_learning_rate=0.064, ssim_weight=0.1)


@pytest.fixture(scope="module")
def swept(tiny_shards, tmp_path_factory):
    """Noseq with one seed, seq with two, seq trained on another locus' DNA; and their folder."""
    folder, manifest = tiny_shards
    train, val = (open_windows(tiny_shards, split, COARSE) for split in ("train", "val"))
    data = Data(manifest, train, val, ray.put(read_packed(folder / GENOME)))
    model = ModelConfig(depth=2, dna_channels=8)
    trials = {
        (sequence, seed): TrialConfig(
            coarse_bin_size=COARSE,
            model=replace(model, sequence=sequence),
            train=replace(TRAIN, seed=seed),
        )
        for sequence, seed in (("off", 0), ("on", 0), ("on", 1), ("elsewhere", 0))
    }
    out = tmp_path_factory.mktemp("sweep")
    places = sweep(trials, data, out)
    stamps = {
        place: (place / "weights.safetensors").stat().st_mtime_ns for place in places.values()
    }
    assert sweep(trials, data, out) == places
    assert all((p / "weights.safetensors").stat().st_mtime_ns == t for p, t in stamps.items())
    return {
        "noseq": [places["off", 0]],
        "seq": [places["on", 0], places["on", 1]],
        "elsewhere": [places["elsewhere", 0]],
    }


@pytest.fixture(scope="module")
def windows(swept, tiny_shards):
    trials = {arm: [read_progress(place).trial for place in own] for arm, own in swept.items()}
    return windows_of(trials, tiny_shards, COARSE, "test")


@pytest.fixture(scope="module")
def judged(swept, tiny_shards, tiny_simulation, windows):
    return score_arms(swept, tiny_shards, COARSE, more=noise_free(tiny_simulation, windows))


def test_every_row_is_there_with_its_seeds(judged):
    assert {name: len(row.runs) for name, row in judged.rows.items()} == {
        "upsampled coarse": 1,
        "distance only": 1,
        "coarse O/E x fine expected": 1,
        NOISE_AWARE: 1,
        BILINEAR: 1,
        GAUSSIAN: 1,
        RIDGE: 1,
        UNTRAINED: 1,
        "noseq": 1,
        MAPLESS: 1,
        "elsewhere": 1,
        SEQ: 2,
        SHUFFLED: 2,
        SWAPPED: 2,
        RATES: 1,
        SPLIT: 1,
        HALVES: 1,
        CEILING: 1,
    }
    assert ("seq", "noseq") in judged.differences
    assert ("elsewhere", "noseq") in judged.differences
    assert ("noseq", MAPLESS) in judged.differences
    assert judged.differences[SEQ, "noseq"]["mse"].seeds == 1  # the fewest of either
    assert judged.differences[SEQ, SHUFFLED]["mse"].seeds == 2
    assert (SEQ, "elsewhere") in judged.differences


def test_a_checkpoint_knows_its_history(swept):
    for place in (place for own in swept.values() for place in own):
        history = read_progress(place).history
        assert [one["epoch"] for one in history] == [1]


def test_swapped_dna_changes_what_a_seq_network_says(judged):
    rows = judged.rows
    for swapped in (SHUFFLED, SWAPPED):
        ours, theirs = (rows[name].windows("mse") for name in (SEQ, swapped))
        assert not np.allclose(ours, theirs, rtol=1e-4)
    assert np.allclose(
        rows[UNTRAINED].windows("mse"), rows["coarse O/E x fine expected"].windows("mse")
    )


@pytest.mark.parametrize("whose", ["shuffled", "elsewhere"])
def test_windows_of_swapped_dna_differ_in_their_bases_and_in_nothing_else(
    windows, swept, tiny_shards, whose
):
    batch = next(windows.batches())
    swapped = windows.collate.with_dna(batch, whose)
    for field in fields(batch):
        before, after = getattr(batch, field.name), getattr(swapped, field.name)
        if field.name == "row_bases":
            assert (before != after).float().mean(dim=1).min() > 0.5
        else:
            assert before is after, field.name
    noseq = model_predictor(load(swept["noseq"][0], tiny_shards[1]))
    assert torch.equal(noseq(batch), noseq(swapped))


def test_the_elsewhere_arm_is_judged_with_another_locus_dna(swept, tiny_shards, judged, windows):
    predict = model_predictor(load(swept["elsewhere"][0], tiny_shards[1]))
    own = windows.score({"own": predict})["own"]
    assert not np.allclose(own.windows["mse"], judged.rows["elsewhere"].windows("mse"), rtol=1e-6)


def test_noise_free_rates_are_the_mean_of_what_balancing_sees(tiny_simulation, windows):
    batch = next(windows.batches())
    rates = noise_free(tiny_simulation, windows)[RATES](batch)
    seen, true = (from_network(maps)[batch.usable] for maps in (batch.target, rates))
    assert float(true.sum() / seen.sum()) == pytest.approx(1, abs=0.02)
    # Counts are Poisson: their deviation from the rates is the rates' square root.
    scale = next(iter(windows.collate.manifest.sources.values())).scale["fine"]
    assert float(((seen - true) ** 2 / true.clamp(min=0.1)).mean()) < 3 * max(scale, 1)


def test_splitting_keeps_each_coarse_pixels_contacts(tiny_simulation, windows):
    batch = next(windows.batches())
    shared = from_network(noise_free(tiny_simulation, windows)[SPLIT](batch))[0].numpy()
    coarse = from_network(baselines(windows.collate)["upsampled coarse"](batch))[0].numpy()
    for row, col in ((0, 1), (3, 9)):
        block = np.s_[4 * row : 4 * row + 4, 4 * col : 4 * col + 4]
        assert shared[block].sum() == pytest.approx(coarse[block].sum(), rel=1e-3)
    upper = np.triu(np.ones((4, 4), dtype=bool))
    assert shared[8:12, 8:12][upper].sum() == pytest.approx(
        coarse[8:12, 8:12][upper].sum(), rel=1e-3
    )


def test_those_who_know_the_truth_beat_all_others(judged):
    scores = {name: row.windows(OBJECTIVE).mean() for name, row in judged.rows.items()}
    known = (RATES, SPLIT, CEILING)
    others = [value for name, value in scores.items() if name not in known]
    assert min(scores[RATES], scores[SPLIT]) > np.nanmax(others)


def test_the_ceiling_is_what_the_noise_free_rates_score(judged, windows):
    ceiling, rates = judged.rows[CEILING], judged.rows[RATES]
    assert ceiling.windows(OBJECTIVE).mean() == pytest.approx(
        rates.windows(OBJECTIVE).mean(), abs=0.02
    )
    for band in windows.bands:
        name = band_score(OBJECTIVE, band)
        known = rates.windows(name).mean()
        assert known > 0.5
        assert ceiling.windows(name).mean() == pytest.approx(known, abs=0.03)


def test_noseq_is_held_against_the_filter_that_validation_chose(judged):
    assert judged.best_filter in judged.rows
    # A filter is the same in every training: it takes no seed away.
    assert judged.differences["noseq", judged.best_filter]["mse"].scope == "in this one training"
    assert not judged.rows[judged.best_filter].trained
    found = paired_difference(judged.rows[SEQ].frames, judged.rows[RIDGE].frames, OBJECTIVE)
    assert found.seeds == 2
    panels = judged.examples[0].maps
    assert list(panels) == ["coarse", judged.best_filter, "noseq", "seq", "fine"]


def test_halves_share_no_read(windows, monkeypatch):
    decode, dealt = windows.collate.decode, []
    monkeypatch.setattr(
        windows.collate,
        "decode",
        lambda compact, *where: dealt.append(compact["fine_counts"]) or decode(compact, *where),
    )
    halves = windows.score_halves()
    whole = [windows.collate.compact(table)["fine_counts"] for table in windows.tables()]
    assert len(dealt) == 2 * len(whole) > 0
    for one, other, both in zip(dealt[::2], dealt[1::2], whole, strict=True):
        # Each read is in one half, and nothing else is.
        assert min(int(one.min()), int(other.min())) >= 0
        assert torch.equal(one + other, both)
        assert float(one.sum() / both.sum()) == pytest.approx(0.5, abs=0.01)
    assert 0.3 < halves.mean(OBJECTIVE) < 0.95
    again = windows.score_halves()
    assert again.windows.equals(halves.windows)


def test_an_untaught_tower_does_not_read_the_motif(tiny_simulation, tiny_shards, swept, windows):
    model = load(swept["seq"][0], tiny_shards[1])
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.head.dna.parameters():
            parameter.copy_(0.1 * torch.randn_like(parameter))
    reading = read_motif(model, tiny_simulation, windows)
    assert not reading.found
    assert str(reading).startswith("No: ")


def test_an_arm_is_named_by_all_that_was_searched():
    trial = TrialConfig(coarse_bin_size=COARSE, model=ModelConfig(sequence="off"), train=TRAIN)
    noseq = "ssim_weight 0.1, base_learning_rate 0.064"
    assert describe(trial) == noseq
    seq = replace(trial, model=ModelConfig(depth=2))
    assert describe(seq) == f"{noseq}, depth 2, fusion both, hidden_dna 0.5"
