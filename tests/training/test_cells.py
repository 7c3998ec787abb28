"""Cells of a search: what each of them tries."""

import pytest

from hicray.config import DataConfig, ModelConfig, TrainConfig, UserError
from hicray.model.encoder import PRESETS
from hicray.training.space import (
    COARSE_BLOCKS,
    COARSE_WIDTHS,
    DEPTHS,
    FUSIONS,
    HIDDEN_DNA,
    LOSSES,
    SSIM_WEIGHTS,
    START_WIDTHS_BINS,
    Cell,
    SearchConfig,
    require_distinct,
    started,
)

RATES = (0.000375, 0.00075, 0.0015, 0.003, 0.006)
REPORT = {"train.ssim_weight": SSIM_WEIGHTS, "train.base_learning_rate": RATES}
SHARED = REPORT | {
    "train.loss": LOSSES,
    "model.coarse_channels": (*COARSE_WIDTHS, 0),
    "model.coarse_blocks": COARSE_BLOCKS,
}


def space(sequence="on", **choices):
    own = {name: choices.pop(name) for name in list(choices) if name in vars(TrainConfig())}
    search = SearchConfig(model=ModelConfig(**choices), train=TrainConfig(**own))
    return Cell(16_000, sequence).space(search)


@pytest.mark.parametrize("sequence", ["on", "blank"])
def test_cells_with_dna_modules_search_depth_and_fusion(sequence):
    found = space(sequence)
    # What nobody sees cannot be hidden.
    hidden = {} if sequence == "blank" else {"train.hidden_dna": HIDDEN_DNA}
    assert found == SHARED | hidden | {"model.depth": DEPTHS, "model.fusion": FUSIONS}


def test_noseq_searches_what_it_has():
    assert space("off") == SHARED


@pytest.mark.parametrize("sequence", ["off", "on", "blank", "composition", "elsewhere"])
def test_what_all_networks_have_is_searched_in_every_arm(sequence):
    assert SHARED.items() <= space(sequence).items()


def test_the_reports_network_and_loss_have_neither_coarse_path_nor_another_loss():
    assert space("off", coarse_path="off", loss="report") == REPORT


def test_how_far_the_start_is_smoothed_is_searched_where_a_map_is_to_be_denoised():
    thinned = DataConfig(coarse_keep=0.1)
    same = DataConfig(fine_bin_size=4_000, coarse_bin_sizes=(4_000,))
    for data in (thinned, same):
        model = started(ModelConfig(), data)
        search = SearchConfig(model=model, train=TrainConfig())
        widths = Cell(4_000, "off").space(search)["model.start_width_bins"]
        assert widths == START_WIDTHS_BINS
        assert model.start_width_bins in widths
        assert started(ModelConfig(residual=False), data) == ModelConfig(residual=False)
    assert started(ModelConfig(), DataConfig()) == ModelConfig()


def test_no_searched_width_is_a_presets_own():
    assert not {size.coarse_channels for size in PRESETS.values()} & set(COARSE_WIDTHS)


def test_the_pooled_encoder_has_no_depth_to_search():
    assert "model.depth" not in space(dna="pooled")


def test_tracks_have_no_tower_and_hide_no_dna():
    search = SearchConfig(model=ModelConfig(), train=TrainConfig())
    alone, beside = (Cell(8_000, arm).space(search) for arm in ("tracks", "on+tracks"))
    assert not {"model.depth", "train.hidden_dna"} & alone.keys()
    assert {"model.depth", "train.hidden_dna", "model.fusion"} <= beside.keys()
    assert "model.fusion" in alone


def test_the_first_guess_is_always_among_the_choices():
    found = space(depth=8, ssim_weight=0.3)
    assert found["model.depth"] == (*DEPTHS, 8)
    assert found["train.ssim_weight"] == (*SSIM_WEIGHTS, 0.3)


def test_learning_rates_read_well_and_hold_the_first_guess_as_it_is():
    found = space(base_learning_rate=0.0123456)
    assert found["train.base_learning_rate"] == (0.00309, 0.00617, 0.0123456, 0.0247, 0.0494)
    assert space(base_learning_rate=0.064)["train.base_learning_rate"][0] == 0.016


def refused(trials, sequences):
    """Of the report's network and loss, whose choices can be counted by hand."""
    search = SearchConfig(
        model=ModelConfig(coarse_path="off"),
        train=TrainConfig(loss="report"),
        sequences=sequences,
        trials=trials,
    )
    require_distinct(search, (8_000, 16_000))


def test_more_trials_than_the_smallest_arm_has_configurations_are_refused():
    refused(25, ("off", "on"))
    refused(450, ("on",))
    said = (
        r"--trials 26 .* arm off has 25 \(5 train.ssim_weight x 5 train.base_learning_rate\); "
        r"give 1 to 25"
    )
    with pytest.raises(UserError, match=said):
        refused(26, ("on", "off"))
    with pytest.raises(UserError, match=r"arm composition has 225 .* give 1 to 225"):
        refused(226, ("on", "composition"))
    with pytest.raises(UserError, match="--trials 0 "):
        refused(0, ("off",))
