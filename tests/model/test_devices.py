"""Every network on a GPU, as far as a machine without one can tell: no tensor on the wrong device.

PyTorch's fake tensors have a device, a type and a shape, and no values: an operation that mixes
devices fails as it would on a GPU. They cannot go backward, whose engine asks for a real one.
"""

import itertools
from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

from hicray.config import ModelConfig, TrainConfig
from hicray.maps.contacts import open_map
from hicray.maps.genome import Genome, read_packed
from hicray.metrics.moments import Truth
from hicray.metrics.scores import Scored
from hicray.model import run
from hicray.model.encoder import PRESETS, ContactEncoder
from hicray.model.enhancer import Enhancer
from hicray.model.hicfoundation import HiCFoundation
from hicray.model.trained import trained_on
from hicray.predict.locus import Dna, Loci, measure
from hicray.predict.network import Network, PublishedNetwork
from hicray.training import losses
from hicray.windows.batches import complement
from hicray.windows.collate import Collate
from hicray.windows.manifest import GENOME
from hicray.windows.reading import columns, read_rows, shard_at
from hicray.windows.scales import triangle_index
from hicray.windows.tokens import FLIPPED, TOKENS, TokenFormat

COARSE, FINE, SIDE = 512, 128, 64
ARMS = ("off", "on", "blank", "composition", "elsewhere")
FUSIONS = ("tokens", "pairwise", "both")
DIM = PRESETS["tiny"].dim


@pytest.fixture
def gpu(monkeypatch):
    """Fake tensors, and a GPU that has bf16."""
    monkeypatch.setattr(run, "in_bf16", lambda device: torch.device(device).type == "cuda")
    kept = triangle_index, complement
    for one in kept:
        one.cache_clear()
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield torch.device("cuda")
    for one in kept:  # what is kept by device is fake
        one.cache_clear()


def decode(shards, device, dna="own"):
    folder, manifest = shards
    collate = Collate(manifest, COARSE, read_packed(folder / GENOME), dna=dna)
    table = next(read_rows(shard_at(folder, manifest.files("val")[0]), columns(COARSE), 4))
    return collate, collate.decode(collate.compact(table), device)


def enhancer(device, **settings):
    config = ModelConfig(depth=2, dna_channels=8, **settings)
    return moved(
        lambda: Enhancer(config, window_bins=SIDE, bin_size=FINE, factor=COARSE // FINE), device
    )


def moved(build, device):
    """Do what ``build().to(device)`` would: PyTorch cannot swap fake parameters in place."""
    with unset_fake_temporarily():
        module = build()
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = torch.nn.Parameter(parameter.detach().to(device))
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else buffer.to(device)
    return module


def all_on(device, *tensors):
    return all(tensor.device.type == device.type for tensor in tensors)


def test_fake_tensors_notice_a_wrong_device(gpu):
    with pytest.raises(RuntimeError, match="device"):
        torch.zeros(2, device=gpu) + torch.zeros(2)


@pytest.mark.parametrize(("sequence", "fusion"), itertools.product(ARMS, FUSIONS))
def test_every_arm_and_fusion_trains_and_validates_on_one_device(
    tiny_shards, gpu, sequence, fusion
):
    collate, batch = decode(tiny_shards, gpu, "elsewhere" if sequence == "elsewhere" else "own")
    chosen = torch.ones(len(batch), dtype=torch.bool, device=gpu)
    batch = batch.reverse_complemented(chosen)
    model = enhancer(gpu, sequence=sequence, fusion=fusion)
    with run.autocast(gpu):
        prediction = model(**batch.arguments())
    for kind in ("likelihood", "correlation", "report"):
        how = TrainConfig(loss=kind, ssim_weight=0.1)
        assert all_on(gpu, losses.loss(prediction.float(), batch, how))
    expected = collate.fine_expected
    scored = Scored(len(expected), expected.shape[1], 1.0)
    validated = run.predict(model.eval(), batch.arguments())
    scored.add(validated, Truth.of(batch))
    assert all_on(gpu, *scored._parts[0])
    assert all_on(torch.device("cpu"), *scored._all())


@pytest.mark.parametrize("dna", ["tower", "pooled"])
@pytest.mark.parametrize("context", ["dilated", "attention"])
def test_every_dna_encoder_stays_on_its_device(tiny_shards, gpu, dna, context):
    _, batch = decode(tiny_shards, gpu)
    model = enhancer(gpu, dna=dna, context=context, context_layers=1).eval()
    assert all_on(gpu, run.predict(model, batch.arguments()))


def test_stored_tokens_are_unpacked_onto_the_device(tiny_shards, gpu):
    folder, manifest = tiny_shards
    form = TokenFormat("bf16", DIM)
    collate = Collate(manifest, COARSE, tokens=form)
    table = next(read_rows(shard_at(folder, manifest.files("val")[0]), columns(COARSE), 2))
    with unset_fake_temporarily():
        stored = form.pack(torch.zeros(2, (SIDE // 16) ** 2 + 2, DIM))  # cls and count
        for name in (TOKENS, FLIPPED):
            table = table.append_column(name, stored)
        compact = collate.compact(table)
    batch = collate.decode(compact, gpu)
    batch = batch.reverse_complemented(torch.tensor([True, False], device=gpu))
    head = enhancer(gpu, sequence="off").head.eval()
    assert all_on(gpu, run.predict(head, batch.head_arguments()))


def test_a_frozen_encoder_embeds_on_its_device(tiny_shards, gpu):
    _, batch = decode(tiny_shards, gpu)
    patches = SIDE // 16
    sizes = {"patch_rows": patches, "patch_cols": patches}
    encoder = moved(lambda: ContactEncoder(PRESETS["tiny"], **sizes), gpu)
    with run.autocast(gpu):
        assert all_on(gpu, encoder(batch.image, batch.total_reads))


def tiles(simulation, manifest, device):
    contacts = open_map(str(simulation.contacts[0]), COARSE)
    chroms = {name: name for name in contacts.chromsizes}
    trained = trained_on(manifest, COARSE)
    facts = measure(contacts, SIDE // 4, raw=False)
    assert set(Genome(str(simulation.genome)).chromsizes) == set(chroms)
    with unset_fake_temporarily():
        loci = Loci(contacts, facts, trained, Dna(str(simulation.genome), chroms, 0))
        inputs = loci.inputs("chr6", [(0, 0), (COARSE, COARSE)])
    moved = {name: tensor.to(device) for name, tensor in inputs.arguments().items()}
    return replace(inputs, **moved)


@pytest.mark.parametrize("sequence", ["off", "on"])
def test_tiles_of_any_map_are_predicted_on_the_device(tiny_simulation, tiny_shards, gpu, sequence):
    inputs = tiles(tiny_simulation, tiny_shards[1], gpu)
    model = enhancer(gpu, sequence=sequence).eval()
    assert all_on(gpu, Network(model).predict(inputs))


def test_a_published_head_predicts_on_the_device(tiny_simulation, tiny_shards, gpu):
    inputs = replace(tiles(tiny_simulation, tiny_shards[1], gpu), row_bases=None)
    published = moved(lambda: HiCFoundation(PRESETS["tiny"], patches=(SIDE // 16) ** 2), gpu)
    assert all_on(gpu, PublishedNetwork(published.eval()).predict(inputs))
