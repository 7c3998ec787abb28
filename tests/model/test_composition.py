"""Composition of bins, counted on strings."""

import math

import numpy as np
import torch

from hicray.config import ModelConfig
from hicray.maps.genome import reverse_complement
from hicray.model.build import build
from hicray.model.composition import CUT_SITES, composition

BIN = 64


def random_dna(rng, bins=32):
    codes = rng.integers(0, 4, (2, bins * BIN)).astype(np.uint8)
    codes[0, 100:106] = [2, 0, 0, 3, 3, 1]  # GAATTC
    codes[0, BIN - 2 : BIN + 2] = [2, 0, 3, 1]  # GATC, its middle on the edge of two bins
    codes[1, 3 * BIN : 4 * BIN] = 4
    codes[1, 4 * BIN : 4 * BIN + 20] = 4
    return codes


def test_features_are_counts_of_strings(rng):
    codes = random_dna(rng)
    found = composition(torch.from_numpy(codes), BIN).numpy()
    for window, own in zip(found, codes, strict=True):
        text = "".join("ACGTN"[code] for code in own)
        for place in range(len(text) // BIN):
            part = text[place * BIN : (place + 1) * BIN]
            known = BIN - part.count("N")
            gc = (part.count("G") + part.count("C")) / known - 0.45 if known else 0.0
            assert math.isclose(window[0, place], 10 * gc, abs_tol=1e-5)
            assert math.isclose(window[1, place], part.count("N") / BIN, abs_tol=1e-6)
            for row, site in enumerate(CUT_SITES.values(), start=2):
                middles = [
                    at + len(site) // 2
                    for at in range(len(text) - len(site) + 1)
                    if text.startswith(site, at)
                ]
                count = sum(place * BIN <= middle < (place + 1) * BIN for middle in middles)
                assert math.isclose(window[row, place], math.log1p(count), abs_tol=1e-6)


def test_the_other_strand_has_the_same_composition(rng):
    codes = rng.integers(0, 4, (1, 32 * BIN)).astype(np.uint8)
    ours = composition(torch.from_numpy(codes), BIN)[0, :2]
    theirs = composition(torch.from_numpy(reverse_complement(codes[0])[None]), BIN)[0, :2]
    assert torch.allclose(ours, theirs.flip(1), atol=1e-5)


def test_a_network_sees_composition_and_no_order(rng):
    torch.manual_seed(0)
    model = build(
        ModelConfig(sequence="composition"), window_bins=32, bin_size=BIN, factor=2
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    codes = np.full((1, 32 * BIN), 0, dtype=np.uint8)
    codes[:, 1::2] = 1  # ACAC...: no cut site in any order of these two
    mixed, richer = codes.copy(), codes.copy()
    mixed[0, :BIN] = np.roll(codes[0, :BIN], 1)
    richer[0, :BIN] = 1
    given = {
        "image": torch.zeros(1, 3, 32, 32),
        "total_reads": torch.tensor([1e6]),
        "base": torch.rand(1, 32, 32),
        "expected": torch.rand(1, 32, 32),
        "evidence": torch.rand(1, 5, 16, 16),
        "diagonal": torch.zeros(1, dtype=torch.long),
    }
    with torch.no_grad():
        same, order, content = (
            model(**given, row_bases=torch.from_numpy(one)) for one in (codes, mixed, richer)
        )
    assert torch.allclose(same, order, atol=1e-6)
    assert not torch.allclose(same, content, atol=1e-4)
