"""The large networks beside the listing of upstream's keys and shapes; no weights are needed."""

import json
import re
from math import prod
from pathlib import Path

import pytest
import torch

from hicray.config import ModelConfig, UserError
from hicray.model import hicfoundation
from hicray.model.encoder import PRESETS
from hicray.model.enhancer import Enhancer
from hicray.model.hicfoundation import BACKBONE, TWICE, UNUSED

LISTING = json.loads((Path(__file__).parents[1] / "golden" / "hicfoundation_keys.json").read_text())
PRETRAIN = "pretrain_vit_large_patch16_224x224"
TASK_3, TASK_0 = "finetune_task3_resolution_224x224", "finetune_task0_finetunepy_224x224"
PARAMETERS = {PRETRAIN: 329_541_889, TASK_3: 330_303_208, TASK_0: 330_311_416}
UNUSED_HERE = {
    PRETRAIN: {"mask_token", "decoder_pred", "decoder_count"},
    TASK_3: {"vit_backbone.head"},
    TASK_0: {"vit_backbone.head", "map_block"},
}
PATCHES_A_SIDE = 14


def weights_of(name):
    """Tensors of the listed shapes that take no memory."""
    return {key: torch.zeros(()).expand(shape) for key, shape in LISTING[name].items()}


def unused(name):
    return {k for k in LISTING[name] if any(re.fullmatch(pattern, k) for pattern in UNUSED)}


def twice(name):
    return {k for k in LISTING[name] if re.fullmatch(TWICE, k) and BACKBONE + k in LISTING[name]}


def wanted(name):
    """Shapes of hicray's large network by its own keys; pre-training has no map head."""
    with torch.device("meta"):
        network = hicfoundation.HiCFoundation(PRESETS["large"], patches=PATCHES_A_SIDE**2)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    if name == PRETRAIN:
        shapes = {key: value for key, value in shapes.items() if "decoder.map" not in key}
    return shapes


@pytest.mark.parametrize("name", PARAMETERS)
def test_listed_keys_are_exactly_those_of_the_network_and_those_named_unused(name):
    renamed = hicfoundation._rename(weights_of(name), name)
    assert {key: tuple(value.shape) for key, value in renamed.items()} == wanted(name)
    assert len(LISTING[name]) == len(renamed) + len(unused(name)) + len(twice(name))
    assert {key.removesuffix(".weight").removesuffix(".bias") for key in unused(name)} == (
        UNUSED_HERE[name]
    )
    assert len(twice(name)) == (0 if name == PRETRAIN else 2)


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_is_counted(name):
    own = sum(prod(shape) for shape in wanted(name).values())
    left_out = sum(prod(LISTING[name][key]) for key in unused(name))
    assert own + left_out == PARAMETERS[name]
    listed = sum(prod(shape) for key, shape in LISTING[name].items() if key not in twice(name))
    assert listed == PARAMETERS[name]


def test_the_large_network_trains_all_but_the_classifier_and_the_decoders_positions():
    with torch.device("meta"):
        network = hicfoundation.HiCFoundation(PRESETS["large"], patches=PATCHES_A_SIDE**2)
    classifier, positions = 1_025_000, 100_352
    number = sum(parameter.numel() for parameter in network.parameters())
    assert number == PARAMETERS[TASK_3] - classifier - positions


@pytest.mark.parametrize("name", [TASK_3, TASK_0])
def test_a_large_file_loads_whole(name, monkeypatch):
    monkeypatch.setattr(hicfoundation, "read", lambda _: weights_of(name))
    network = hicfoundation.load(name)
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == wanted(name)
    assert not any(value.is_meta for value in network.state_dict().values())


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_large_enhancer_takes_all_of_a_large_file(name, monkeypatch):
    monkeypatch.setattr(hicfoundation, "read", lambda _: weights_of(name))
    config = ModelConfig(preset="large", sequence="off", residual=False)
    with torch.device("meta"):
        model = Enhancer(config, window_bins=224, bin_size=4_000, factor=2)
    taken = {key.removeprefix("head.") for key in hicfoundation.fitting(model, name)}
    assert taken == set(wanted(name))


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("fault", ["unknown", "missing", "of another shape"])
def test_a_single_fault_in_a_large_file_is_named(name, fault, monkeypatch):
    weights = weights_of(name)
    key = "decoder_blocks.7.mlp.fc2.bias"
    if fault == "unknown":
        weights["decoder_blocks.8.mlp.fc2.bias"] = weights[key]
    elif fault == "missing":
        del weights[key]
    else:
        weights[key] = torch.zeros(513)
    monkeypatch.setattr(hicfoundation, "read", lambda _: weights)
    config = ModelConfig(preset="large", sequence="off")
    with torch.device("meta"):
        model = Enhancer(config, window_bins=224, bin_size=4_000, factor=2)
    with pytest.raises(UserError, match=rf"{fault}: decoder\.blocks\.[78]\.mlp\.fc2\.bias"):
        hicfoundation.load_into(model, name)


def test_every_tolerated_key_has_a_reason():
    assert all(reason.strip() for reason in UNUSED.values())
    listed = {key for name in PARAMETERS for key in LISTING[name]}
    for pattern in UNUSED:
        assert any(re.fullmatch(pattern, key) for key in listed), f"{pattern} is no upstream key"
