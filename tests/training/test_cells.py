"""Cells of a search: what each of them tries."""

import pytest

from hicray.config import ModelConfig, TrainConfig
from hicray.training.space import DEPTHS, FUSIONS, SSIM_WEIGHTS, Cell, SearchConfig


def space(sequence="on", **choices):
    train = TrainConfig(ssim_weight=choices.pop("ssim_weight", 0.2))
    search = SearchConfig(model=ModelConfig(**choices), train=train)
    return Cell(16_000, sequence).space(search)


@pytest.mark.parametrize("sequence", ["on", "blank"])
def test_cells_with_dna_modules_search_depth_and_fusion(sequence):
    found = space(sequence)
    assert set(found) == {"train.ssim_weight", "model.depth", "model.fusion"}
    assert (found["model.depth"], found["model.fusion"]) == (DEPTHS, FUSIONS)


def test_noseq_searches_what_it_has():
    assert space("off") == {"train.ssim_weight": SSIM_WEIGHTS}


def test_the_pooled_encoder_has_no_depth_to_search():
    assert "model.depth" not in space(dna="pooled")


def test_the_first_guess_is_always_among_the_choices():
    found = space(depth=8, ssim_weight=0.3)
    assert found["model.depth"] == (*DEPTHS, 8)
    assert found["train.ssim_weight"] == (*SSIM_WEIGHTS, 0.3)
