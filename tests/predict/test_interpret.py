"""Ablation, mutation and filters, on networks whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hicray.config import ModelConfig
from hicray.maps.genome import encode
from hicray.model.build import build
from hicray.model.dna import DnaTower
from hicray.predict.interpret import (
    LOG2_PER_UNIT,
    Site,
    ablate,
    filter_motifs,
    filter_strengths,
    motif_likeness,
    mutation_profile,
)
from hicray.windows.batches import Batch
from hicray.windows.inputs import EVIDENCE

SIDE, BIN = 16, 32
WORD = encode("GATTACAGAT")


def make_batch(rng, sites):
    bases = rng.integers(0, 4, (2, SIDE * BIN)).astype(np.uint8)
    for site in sites:
        word = (3 - WORD)[::-1] if site.reverse else WORD
        bases[site.window, site.start : site.start + len(WORD)] = word
    maps = torch.zeros(2, SIDE, SIDE)
    whole = torch.zeros(2, dtype=torch.long)
    return Batch(
        image=torch.zeros(2, 3, SIDE, SIDE),
        coarse=maps,
        base=maps,
        expected=maps,
        evidence=torch.zeros(2, EVIDENCE, SIDE // 2, SIDE // 2),
        target=maps,
        reads=maps,
        reads_per_contact=maps,
        usable=torch.ones(2, SIDE, SIDE, dtype=torch.bool),
        total_reads=torch.ones(2),
        diagonal=whole,
        group=whole,
        row_start=whole,
        row_bases=torch.from_numpy(bases),
    )


SITES = [Site(0, 50), Site(1, 200, reverse=True)]


def reads_third_base(batch):
    """A network that answers to the third base of the word, on either strand."""
    bases = batch.row_bases
    found = [bases[0, 52] == WORD[2], bases[1, 200 + len(WORD) - 3] == 3 - WORD[2]]
    return torch.stack([torch.full((SIDE, SIDE), float(hit)) for hit in found])


def test_the_profile_peaks_where_a_base_matters_on_either_strand(rng):
    offsets, changes = mutation_profile(reads_third_base, make_batch(rng, SITES), SITES, len(WORD))
    assert offsets.tolist() == list(range(-10, 20))
    assert changes[offsets == 2] == pytest.approx(LOG2_PER_UNIT)
    assert np.all(changes[offsets != 2] == 0)


def test_ablation_is_the_mean_change_over_random_bases(rng):
    batch = make_batch(rng, SITES)
    kept = batch.row_bases.clone()
    found = ablate(reads_third_base, batch, SITES, len(WORD), draws=200)
    assert torch.allclose(found.before, torch.tensor(1000.0), rtol=1e-4)
    assert float(found.after.mean()) == pytest.approx(250, abs=80)
    assert float(found.log2_change.mean()) == pytest.approx(np.log2(251 / 1001), abs=0.5)
    assert torch.equal(batch.row_bases, kept)


def test_windows_without_dna_cannot_be_ablated(rng):
    batch = replace(make_batch(rng, SITES), row_bases=None)
    with pytest.raises(ValueError, match="bring their DNA"):
        ablate(reads_third_base, batch, SITES, len(WORD))


def test_a_filter_that_is_a_word_is_found_as_that_word(rng):
    batch = make_batch(rng, SITES)
    tower = DnaTower(BIN, depth=1, channels=4)
    layer = tower.bases.block.conv
    word = encode("GATTACAGATTACAG")
    with torch.no_grad():
        layer.weight.normal_(0, 0.01)
        layer.weight[2, :, 0] = torch.nn.functional.one_hot(torch.tensor(word).long(), 4).T.float()
        layer.bias.zero_()
    for start in (10, 300):
        batch.row_bases[:, start : start + 15] = torch.from_numpy(word)
    found = filter_motifs(tower, batch.row_bases, top=4)[2]
    assert found.argmax(axis=1).tolist() == word.tolist()
    assert np.all(found.max(axis=1) == 1)


def test_likeness_sees_through_shifts_and_strands(rng):
    motif = np.eye(4)[rng.integers(0, 4, 12)] * 0.9 + 0.025
    around = rng.dirichlet(np.ones(4), 15)
    shifted = around.copy()
    shifted[3:] = motif
    assert motif_likeness(shifted, motif) == pytest.approx(1)
    assert motif_likeness(shifted[::-1, ::-1], motif) == pytest.approx(1)
    assert motif_likeness(around, motif) < 0.8
    cut = np.vstack([rng.dirichlet(np.ones(4), 2), motif[:10]])
    assert motif_likeness(cut, motif) > 0.9


def test_the_filter_that_tells_most_is_the_strongest(rng):
    torch.manual_seed(0)
    model = build(
        ModelConfig(depth=1, dna_channels=4, fusion="pairwise"),
        window_bins=16,
        bin_size=32,
        factor=2,
    )
    tower = model.head.dna
    with torch.no_grad():
        for parameter in model.head.pixels.out.parameters():
            parameter.normal_(0, 0.1)
        layer = tower.bases.block.conv
        layer.weight.mul_(0.01)
        layer.weight[3, 0, 0, 7] = 5.0  # asks for an A in its middle
        layer.bias.zero_()
        layer.bias[1] = 50.0  # answers everywhere alike
    weights = layer.weight.clone()
    strengths = filter_strengths(model.eval(), make_batch(rng, SITES))
    assert strengths.argmax() == 3
    assert torch.equal(layer.weight, weights)
