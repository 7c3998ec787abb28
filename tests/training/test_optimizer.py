"""The learning rate: HiCFoundation's rule, the schedule, layer decay by name."""

import itertools

import pytest

from hicray.config import ModelConfig, TrainConfig, TrialConfig
from hicray.model.enhancer import Enhancer
from hicray.training.optimizer import layer_scale, learning_rate, make_optimizer, move_to


def groups_by_name(encoder, **settings):
    """Return every learnt parameter's optimizer group, by name."""
    config = ModelConfig(preset="tiny", encoder=encoder, depth=1)
    model = Enhancer(config, window_bins=32, bin_size=16, factor=2)
    trial = TrialConfig(coarse_bin_size=64, model=config, train=TrainConfig(**settings))
    optimizer = make_optimizer(model, trial)
    name_of = {id(p): name for name, p in model.named_parameters()}
    groups = {name_of[id(p)]: g for g in optimizer.param_groups for p in g["params"]}
    return groups, optimizer, trial.train


def test_the_learning_rate_rises_then_falls_to_nothing():
    rates = [learning_rate(1.0, 0.1, step, 100) for step in range(100)]
    assert rates[9] == 1.0
    assert all(a < b for a, b in itertools.pairwise(rates[:10]))
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] < 1e-3


def test_the_peak_is_scaled_to_the_windows_of_a_step():
    """The report's batch 4, accumulation 4, 2 workers at upstream's 1.5e-3 a 256 windows."""
    config = TrainConfig(batch_size=4, accumulate=4, workers=2, base_learning_rate=1.5e-3)
    assert config.peak_learning_rate == pytest.approx(1.5e-3 * 32 / 256)


def test_a_tuned_encoders_layers_learn_the_slower_the_deeper_they_lie():
    groups, optimizer, config = groups_by_name("tuned", layer_decay=0.5)
    scales = {name: group["scale"] for name, group in groups.items()}
    assert scales["encoder.patch_embed.weight"] == scales["encoder.pos_embed"] == 0.5**3
    assert scales["encoder.blocks.0.attn.qkv.weight"] == 0.5**2
    assert scales["encoder.blocks.1.mlp.fc2.bias"] == 0.5
    assert scales["encoder.norm.weight"] == 1
    assert {scale for name, scale in scales.items() if name.startswith("head.")} == {1}
    rate = move_to(optimizer, config, step=50, steps=100)
    assert all(group["lr"] == rate * group["scale"] for group in groups.values())


def test_the_large_encoders_first_block_has_24_layers_above_it():
    assert layer_scale("encoder.blocks.0.norm1.weight", 24, 0.75) == 0.75**24
    assert layer_scale("encoder.blocks.23.norm1.weight", 24, 0.75) == 0.75


@pytest.mark.parametrize("encoder", ["scratch", "frozen"])
def test_without_tuning_all_learn_at_one_rate(encoder):
    groups, _, _ = groups_by_name(encoder)
    assert {group["scale"] for group in groups.values()} == {1}
    assert any(name.startswith("encoder.") for name in groups) == (encoder == "scratch")


def test_vectors_positions_and_cls_are_not_decayed():
    groups, _, config = groups_by_name("scratch")
    for name in ("encoder.cls_token", "encoder.pos_embed", "head.decoder.norm.weight"):
        assert groups[name]["weight_decay"] == 0
    assert groups["head.decoder.map.weight"]["weight_decay"] == config.weight_decay
