"""Baselines and predictors on held-out windows, against dense maps read by cooler."""

from dataclasses import replace

import cooler
import numpy as np
import pytest
import torch
from scipy import stats

from hicray.config import DataConfig, ModelConfig, TrainConfig, TrialConfig
from hicray.evaluation.baselines import baselines
from hicray.evaluation.window_set import HeldOutWindows
from hicray.maps.expected import smoothed
from hicray.metrics.moments import Truth
from hicray.metrics.scores import SCORES
from hicray.model import run
from hicray.model.build import build
from hicray.model.enhancer import Enhancer
from hicray.predict.predictors import model_predictor
from hicray.training.data import Data
from hicray.training.optimizer import make_optimizer
from hicray.training.train import Loop, Worker
from hicray.windows.collate import Collate
from hicray.windows.scales import from_network
from hicray.windows.shards import prepare
from hicray.windows.stream import open_windows
from tests.alone import prepare_alone
from tests.shared_data import write_holes, write_poisson

COARSE, FINE, SIDE = 512, 128, 64
TRAIN = TrainConfig(epochs=1, batch_size=8)


@pytest.fixture(scope="module")
def collate(tiny_shards):
    return Collate(tiny_shards[1], COARSE)


@pytest.fixture(scope="module")
def batch(tiny_shards, collate):
    return next(HeldOutWindows(tiny_shards[0], "test", collate, COARSE).batches())


def dense(simulation, bin_size, chrom):
    clr = cooler.Cooler(f"{simulation.contacts[0]}::/resolutions/{bin_size}")
    return clr.matrix(balance=True).fetch(chrom)


def test_every_test_window_is_scored_once_by_every_row(tiny_shards, collate):
    folder, manifest = tiny_shards
    found = HeldOutWindows(folder, "test", collate, COARSE).score(baselines(collate))
    assert set(found) == {"upsampled coarse", "distance only", "coarse O/E x fine expected"}
    for one in found.values():
        places = one.windows[["chrom", "row_start"]]
        assert len(places) == len(places.drop_duplicates()) == manifest.num_windows("test")


def test_distance_only_is_the_training_mean_of_each_separation(
    tiny_simulation, tiny_shards, collate, batch
):
    manifest = tiny_shards[1]
    train = [chrom for chrom, split in manifest.splits.items() if split == "train"]
    scale = next(iter(manifest.sources.values())).scale["fine"]
    maps = [dense(tiny_simulation, FINE, chrom) * scale for chrom in train]
    by = [np.concatenate([np.diagonal(one, s) for one in maps]) for s in range(SIDE)]
    curve = smoothed(*np.transpose([(np.nansum(x), np.isfinite(x).sum()) for x in by]))
    predicted = baselines(collate)["distance only"](batch)
    contacts = 10 ** (predicted[0].numpy() * np.log10(1001)) - 1
    assert np.diag(contacts, 7) == pytest.approx(curve[7], rel=1e-4)
    assert curve[7] == pytest.approx(np.nanmean(by[7]), rel=0.02)


def test_the_upsampled_coarse_map_is_the_coarse_level_per_fine_pixel(
    tiny_simulation, tiny_shards, collate, batch
):
    manifest = tiny_shards[1]
    _, chrom = collate.groups[int(batch.group[0])]
    scale = next(iter(manifest.sources.values())).scale[f"coarse_{COARSE}"]
    first = int(batch.row_start[0]) // COARSE
    coarse = dense(tiny_simulation, COARSE, chrom)[first : first + 16, first : first + 16] * scale
    contacts = 10 ** (baselines(collate)["upsampled coarse"](batch)[0].numpy() * np.log10(1001)) - 1
    for row, col in ((0, 1), (2, 9), (5, 5)):
        pixels = 10 if row == col else 16
        if np.isfinite(coarse[row, col]):
            block = contacts[4 * row : 4 * row + 4, 4 * col : 4 * col + 4]
            assert block == pytest.approx(coarse[row, col] / pixels, rel=1e-3)


def test_compare_scores_a_network_as_validation_did_in_any_precision(
    tiny_shards, collate, monkeypatch
):
    folder, manifest = tiny_shards
    trial = TrialConfig(coarse_bin_size=COARSE, model=ModelConfig(sequence="off"), train=TRAIN)
    torch.manual_seed(0)
    model = build(trial.model, **manifest.layout(COARSE))
    torch.nn.init.normal_(model.head.pixels.out.weight, std=0.1)
    train, val = (open_windows(tiny_shards, split, COARSE) for split in ("train", "val"))
    place = Worker(0, 1, torch.device("cpu"))
    loop = Loop(trial, Data(manifest, train, val), place, model, make_optimizer(model, trial))
    exact = loop.validate()
    monkeypatch.setattr(run, "in_bf16", lambda _: True)
    rounded = loop.validate()
    scored = HeldOutWindows(folder, "val", collate, COARSE).score({"noseq": model_predictor(model)})
    compared = scored["noseq"]
    assert rounded["mse"] != exact["mse"]
    assert compared.decay_error == pytest.approx(rounded["decay_error"], rel=1e-12)
    for name in SCORES:
        assert compared.mean(name) == pytest.approx(rounded[name], rel=1e-12)


def test_what_is_kept_of_a_window_is_sums_not_maps(tiny_shards, collate, batch):
    empty = HeldOutWindows(tiny_shards[0], "test", collate, COARSE)._empty()
    empty.add(batch.base, Truth.of(batch))
    kept = sum(tensor.nbytes for part in empty._parts for tensor in part)
    assert kept / len(batch) <= 8 * (12 * SIDE + 4)  # bytes; a pair of maps has 8 * SIDE^2


def level_of_upsampled(folder, manifest, size):
    """Contacts of the baseline over those of the target, and those of the coarse map itself."""
    windows, sums = HeldOutWindows(folder, "test", Collate(manifest, size), size), np.zeros(3)
    for batch in windows.batches():
        maps = baselines(windows.collate)["upsampled coarse"](batch), batch.target, batch.coarse
        sums += [float(from_network(one)[batch.usable].sum()) for one in maps]
    return sums[0] / sums[1], sums[2] / sums[1]


@pytest.mark.parametrize("disjoint", [False, True])
def test_the_upsampled_map_of_thinned_reads_stands_at_the_level_of_the_target(
    tiny_data, tiny_shards, tmp_path, disjoint
):
    thinned = replace(
        tiny_data, coarse_keep=0.25, disjoint_reads=disjoint, coarse_bin_sizes=(FINE, COARSE)
    )
    manifest = prepare(thinned, tmp_path)
    level, before = level_of_upsampled(tmp_path, manifest, FINE)
    assert level == pytest.approx(1, abs=0.01)
    assert before == pytest.approx(1 / 3 if disjoint else 0.25, rel=0.01)
    # Balanced at another bin size, a chromosome's share of all contacts is another.
    whole, same = level_of_upsampled(*tiny_shards, COARSE)
    assert whole == pytest.approx(same, rel=1e-6)
    assert level_of_upsampled(tmp_path, manifest, COARSE)[0] == pytest.approx(whole, rel=0.02)


def test_an_untrained_residual_model_is_its_base(tiny_shards, collate):
    torch.manual_seed(0)
    model = Enhancer(
        ModelConfig(sequence="off"), window_bins=SIDE, bin_size=FINE, factor=COARSE // FINE
    ).eval()
    rows = {**baselines(collate), "noseq": model_predictor(model)}
    found = HeldOutWindows(tiny_shards[0], "val", collate, COARSE).score(rows)
    base, noseq = found["coarse O/E x fine expected"], found["noseq"]
    for name in ("mse", "pearson", "oe_pearson"):
        assert noseq.mean(name) == pytest.approx(base.mean(name), abs=1e-6)
    assert base.mean("oe_pearson") > found["upsampled coarse"].mean("oe_pearson")


@pytest.fixture(scope="module")
def poisson(tmp_path_factory):
    """Raw counts of a read or two a pixel: a map, its shard set and the folder of that."""
    folder = tmp_path_factory.mktemp("poisson")
    bins = {"chrA": SIDE, "chrB": SIDE, "chrC": 10 * SIDE}
    path = write_poisson(
        folder / "map.mcool", bins, (FINE, COARSE), lambda apart: 4 / (1 + apart) ** 0.5
    )
    genome = write_holes(folder / "genome.fa", {chrom: n * FINE for chrom, n in bins.items()})
    config = DataConfig(
        contacts=(path,),
        genome=str(genome),
        fine_bin_size=FINE,
        coarse_bin_sizes=(COARSE,),
        window_bins=SIDE,
        split="val=chrB;test=chrC",
        raw=True,
    )
    return path, prepare_alone(config, folder / "shards"), folder / "shards"


def bits_of_halves(halves, apart):
    """How likely one half's raw reads are by the other half, doubled, and by distance alone."""
    maps, counts = (np.array([np.triu(window) for window in half]) for half in halves)
    bits = np.zeros(len(counts))
    for s in range(2, SIDE):
        here = np.triu(apart == s)
        n = counts[:, here]
        # Chromosomes before the test set are of the same decay.
        x = 2.0 * maps[:, here] + 0.02 * 4 / (1 + s) ** 0.5
        x *= n.sum() / x.sum()
        bits += (stats.poisson.logpmf(n, x) - stats.poisson.logpmf(n, n.mean())).sum(axis=1)
    return bits / np.log(2) / counts[:, np.triu(apart >= 2)].sum(axis=1)


def scores_of_halves(counts, rng):
    """Deal a chromosome's reads into two halves, and score the doubled ones, densely."""
    reads = np.triu(counts)
    one = rng.binomial(reads, 0.5)
    pair = [2.0 * (half + np.triu(half, 1).T) for half in (one, reads - one)]
    apart = np.abs(np.subtract.outer(np.arange(SIDE), np.arange(SIDE)))
    cuts = [slice(start, start + SIDE) for start in range(0, len(counts), SIDE)]
    windows = [[half[cut, cut] for cut in cuts] for half in pair]
    oe = []
    for own in windows:
        decay = [np.mean([window[apart == s] for window in own]) for s in range(SIDE)]
        oe.append([np.log((window + 1) / (np.array(decay)[apart] + 1)) for window in own])
    far = apart >= 2
    bits = bits_of_halves([[half[cut, cut] for cut in cuts] for half in (one, reads - one)], apart)
    values = [np.log10(np.array(own) + 1) / np.log10(1001) for own in windows]
    pairs = list(zip(*values, strict=True))
    return {
        "mse": np.mean([np.mean((a - b) ** 2) for a, b in pairs]),
        "pearson": np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]),
        "bits_per_read": np.mean(bits),
        "oe_pearson": np.mean(
            [np.corrcoef(a[far], b[far])[0, 1] for a, b in zip(*oe, strict=True)]
        ),
    }


def test_halves_of_the_reads_are_scored_at_full_depth(poisson):
    """Within what chance allows of reads that are dealt anew, densely, from the file."""
    path, manifest, folder = poisson
    found = HeldOutWindows(folder, "test", Collate(manifest, COARSE), COARSE).score_halves()
    assert len(found.windows) == 10
    clr = cooler.Cooler(f"{path}::/resolutions/{FINE}")
    counts = clr.matrix(balance=False).fetch("chrC")
    again = [scores_of_halves(counts, np.random.default_rng(seed)) for seed in range(20)]
    for name in again[0]:
        values = [one[name] for one in again]
        assert found.mean(name) == pytest.approx(np.mean(values), abs=5 * np.std(values))
