"""One way to run a network: the same digits in validation, comparison and enhancing."""

import pytest
import torch

from hicray.config import ModelConfig
from hicray.model import run
from hicray.model.build import build
from hicray.predict.network import Network
from hicray.predict.predictors import model_predictor
from hicray.windows.batches import Batch
from hicray.windows.inputs import EVIDENCE, Inputs
from hicray.windows.scales import from_network, to_network

SIDE = 32


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    model = build(ModelConfig(sequence="off"), window_bins=SIDE, bin_size=128, factor=2)
    torch.nn.init.normal_(model.head.pixels.out.weight, std=0.3)
    return model.eval()


@pytest.fixture(scope="module")
def inputs():
    generator = torch.Generator().manual_seed(1)
    maps = torch.rand(2, SIDE, SIDE, generator=generator) * 50
    maps = maps + maps.mT
    return Inputs(
        image=torch.rand(2, 3, SIDE, SIDE, generator=generator),
        coarse=to_network(maps),
        base=to_network(maps),
        expected=to_network(maps),
        evidence=torch.rand(2, EVIDENCE, SIDE // 2, SIDE // 2, generator=generator),
        total_reads=torch.full((2,), 1e6),
        diagonal=torch.zeros(2, dtype=torch.int64),
    )


def test_on_a_cpu_networks_run_in_full_precision(network, inputs):
    with torch.no_grad():
        exact = network(**inputs.arguments())
    assert torch.equal(run.predict(network, inputs.arguments()), exact)


@pytest.mark.parametrize("emulated", [True, False])
def test_a_gpu_that_would_emulate_bf16_does_not_run_in_it(emulated, monkeypatch):
    def is_bf16_supported(including_emulation=True):
        return including_emulation or not emulated

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    assert run.in_bf16("cuda") is not emulated
    assert not run.in_bf16("cpu")


def test_in_bf16_compare_and_enhance_see_the_same_digits(network, inputs, monkeypatch):
    with torch.no_grad():
        exact = network(**inputs.arguments())
    monkeypatch.setattr(run, "in_bf16", lambda _: True)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rounded = network(**inputs.arguments()).float()
    assert not torch.equal(rounded, exact)
    assert torch.equal(model_predictor(network)(as_batch(inputs)), rounded)
    assert torch.equal(Network(network).values(inputs), rounded)
    assert torch.equal(Network(network).predict(inputs), from_network(rounded))


def as_batch(inputs):
    """The same windows as compare sees them, with a target."""
    nothing = torch.zeros(2, dtype=torch.int64)
    return Batch(
        **inputs.arguments(),
        coarse=inputs.coarse,
        target=inputs.base,
        reads=inputs.base,
        reads_per_contact=inputs.base,
        usable=torch.ones(2, SIDE, SIDE, dtype=torch.bool),
        group=nothing,
        row_start=nothing,
    )
