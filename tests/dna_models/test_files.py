"""Published files beside the networks: every key, of the full size and of small ones."""

import json
import re
from math import prod

import pytest
import torch

from hicray.config import UserError
from hicray.dna_models import borzoi, enformer, published
from hicray.dna_models.contract import margin
from tests.dna_models.small import (
    BORZOI,
    ENFORMER,
    GOLDEN,
    TINY_BORZOI,
    borzoi_weights,
    enformer_weights,
    io_of,
    saved,
)

MODULES = {"enformer": enformer, "borzoi": borzoi}
LISTING = {name: json.loads((GOLDEN / f"{name}_keys.json").read_text()) for name in MODULES}
PARAMETERS = {"enformer": 229_845_504, "borzoi": 171_271_968}
MARGINS = {"enformer": 40_960, "borzoi": 163_840}


def listed_weights(name):
    """Tensors of the listed shapes that take no memory."""
    return {key: torch.zeros(()).expand(shape) for key, shape in LISTING[name].items()}


def unused(name):
    return {key for key in LISTING[name] if not MODULES[name].NAMING.takes_part(key)}


def second(name):
    naming = MODULES[name].NAMING
    return {key for key in LISTING[name].keys() - unused(name) if naming.first(key) != key}


def with_second_names(weights):
    """Hold every tensor twice, as Enformer's published file does."""
    return weights | {
        new + key.removeprefix(old): value.clone()
        for new, old in enformer.NAMING.second.items()
        for key, value in weights.items()
        if key.startswith(old)
    }


@pytest.mark.parametrize("name", MODULES)
def test_a_full_size_file_fills_the_network_one_to_one(name, monkeypatch):
    monkeypatch.setattr(published, "read", lambda _: listed_weights(name))
    network = MODULES[name].load(name)
    held = network.state_dict()
    assert not any(value.is_meta for value in held.values())
    names = {MODULES[name].NAMING.published(key): tuple(held[key].shape) for key in held}
    assert len(names) == len(held)
    listed = LISTING[name].keys() - unused(name) - second(name)
    assert names == {key: tuple(LISTING[name][key]) for key in listed}
    assert sum(value.numel() for value in network.parameters()) == PARAMETERS[name]
    assert margin(network) == MARGINS[name]


def test_enformers_second_names_are_of_all_that_it_holds():
    naming, listing = enformer.NAMING, LISTING["enformer"]
    firsts = {naming.first(key) for key in second("enformer")}
    assert firsts == listing.keys() - unused("enformer") - second("enformer")


@pytest.mark.parametrize(("head", "megabytes"), [("human_head", 744), ("mouse_head", 705)])
def test_borzois_files_are_as_large_as_those_that_are_published(head, megabytes):
    """As the Hub lists them, in whole megabytes; a replicate has a file for either head."""
    kept = [key for key in LISTING["borzoi"] if "_head." not in key or key.startswith(head)]
    assert round(sum(prod(LISTING["borzoi"][key]) for key in kept) * 4 / 1e6) == megabytes


@pytest.mark.parametrize("name", MODULES)
def test_every_key_that_is_left_out_has_a_reason_and_is_published(name):
    for pattern, reason in MODULES[name].NAMING.unused.items():
        assert reason.strip()
        assert any(re.fullmatch(pattern, key) for key in LISTING[name]), pattern


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("fault", ["unknown", "missing", "of another shape"])
def test_a_single_fault_in_a_full_size_file_is_named_as_the_file_names_it(name, fault, monkeypatch):
    left_out = second(name)
    weights = {key: value for key, value in listed_weights(name).items() if key not in left_out}
    key = "transformer.7.0.fn.1.to_rel_k.weight"
    if fault == "unknown":
        key = "transformer.7.0.fn.1.mha.Wqkv.weight"  # one of Flashzoi's
        weights[key] = torch.zeros(1)
    elif fault == "missing":
        del weights[key]
    else:
        weights[key] = torch.zeros(3)
    monkeypatch.setattr(published, "read", lambda _: weights)
    with pytest.raises(UserError) as caught:
        MODULES[name].load("a.bin")
    assert str(caught.value).startswith(f"a.bin does not fit this network; {fault}: {key}")
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("ending", [".bin", ".pt", ".pth", ".safetensors"])
def test_either_or_both_of_two_names_will_do(tmp_path, ending):
    """Tools that write each tensor once keep the name that sorts first: '_trunk'."""
    codes = io_of("enformer")["codes"]
    once = enformer_weights()
    both = with_second_names(once)
    others = {key: value for key, value in both.items() if key not in once or key[0] == "_"}
    assert not others.keys() & {"stem.0.weight", "conv_tower.0.0.2.weight"}
    outputs = [
        enformer.load(saved(weights, tmp_path / f"{name}{ending}"), ENFORMER)(codes)
        for name, weights in (("once", once), ("both", both), ("others", others))
    ]
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


@pytest.mark.parametrize("name", ["stem.0.bias", "_trunk.1.0.bias"])
def test_a_tensor_whose_two_names_differ_is_refused(tmp_path, name):
    weights = with_second_names(enformer_weights())
    weights[name] = weights[name] + 1
    path = saved(weights, tmp_path / "twice.bin")
    with pytest.raises(UserError) as caught:
        enformer.load(path, ENFORMER)
    assert str(caught.value) == (f"{path} holds stem.0.bias under two names, and the two differ")


def test_a_file_of_another_size_is_refused(tmp_path):
    path = saved(borzoi_weights(TINY_BORZOI), tmp_path / "tiny.safetensors")
    assert borzoi.load(path, TINY_BORZOI).channels == 7
    with pytest.raises(UserError, match="does not fit this network; missing: "):
        borzoi.load(path, BORZOI)


def test_the_other_networks_file_is_refused():
    with pytest.raises(UserError, match="does not fit this network; unknown: "):
        borzoi.load(GOLDEN / "enformer_weights.safetensors", TINY_BORZOI)


class Trap:
    def __reduce__(self):
        return print, ("code ran",)


def test_a_pickle_with_code_in_it_is_refused(tmp_path, capsys):
    torch.save({"stem.0.bias": Trap()}, tmp_path / "model.bin")
    with pytest.raises(UserError, match="not a readable checkpoint of tensors") as caught:
        enformer.load(tmp_path / "model.bin")
    assert "\n" not in str(caught.value)
    assert "code ran" not in capsys.readouterr().out


def test_half_floats_become_single_ones(tmp_path):
    weights = {key: value.half() for key, value in borzoi_weights(TINY_BORZOI).items()}
    network = borzoi.load(saved(weights, tmp_path / "half.safetensors"), TINY_BORZOI)
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}
    assert network(torch.zeros(2, 512, dtype=torch.uint8)).shape == (2, 8, 7)
