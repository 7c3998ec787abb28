import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hicray.model import dna
from hicray.model.dna import DnaTower, PooledDna, one_hot, pool_factors


def random_codes(batch, bases, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 5, (batch, bases), dtype=torch.uint8, generator=generator)


def reverse_complement(codes):
    return torch.where(codes < 4, 3 - codes, codes).flip(1)


def test_one_hot_spells_bases_and_leaves_n_empty():
    codes = torch.tensor([[0, 1, 2, 3, 4]], dtype=torch.uint8)
    expected = torch.cat([torch.eye(4), torch.zeros(4, 1)], dim=1)
    assert torch.equal(one_hot(codes, torch.float32)[0, :, 0], expected)


@given(bin_size=st.integers(1, 20_000), depth=st.integers(1, 7))
def test_pool_factors_multiply_to_the_bin(bin_size, depth):
    factors = pool_factors(bin_size, depth)
    assert len(factors) == depth
    assert math.prod(factors) == bin_size
    assert list(factors[1:]) == sorted(factors[1:], reverse=True)


@pytest.mark.parametrize(
    ("bin_size", "depth", "expected"),
    [
        (128, 1, (128,)),
        (128, 3, (8, 4, 4)),
        (4000, 4, (8, 10, 10, 5)),
        (5000, 5, (8, 5, 5, 5, 5)),
        (8, 3, (8, 1, 1)),
        (101, 2, (101, 1)),
        (1, 2, (1, 1)),
    ],
)
def test_pool_factors_of_known_bins(bin_size, depth, expected):
    assert pool_factors(bin_size, depth) == expected


@pytest.mark.parametrize(("bin_size", "depth"), [(128, 1), (128, 3), (60, 4), (7, 2)])
def test_the_tower_gives_one_embedding_per_bin(bin_size, depth):
    tower = DnaTower(bin_size, depth, 8)
    assert tower(random_codes(2, 6 * bin_size)).shape == (2, 6, 8)


def reach_bins(tower, bin_size):
    """Bins on each side that an embedding can see, from the kernels and pools."""
    bases, scale = 0, 1
    for block in (tower.bases.block, *tower.blocks):
        bases += scale * (block.conv.kernel_size[1] // 2)
        scale *= block.pool
    return math.ceil(bases / bin_size) + 1 + 2


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_an_embedding_sees_its_own_bin_and_near_ones_only(depth):
    tower, bin_size, bins, changed = DnaTower(64, depth, 8), 64, 24, 12
    codes = random_codes(1, bins * bin_size)
    other = codes.clone()
    middle = slice(changed * bin_size, (changed + 1) * bin_size)
    other[:, middle] = random_codes(1, bin_size, seed=1)
    difference = (tower(codes) - tower(other)).abs().amax(dim=(0, 2))
    touched = difference.nonzero().flatten()
    assert difference[changed] > 0
    reach = reach_bins(tower, bin_size)
    assert touched.min() >= changed - reach
    assert touched.max() <= changed + reach
    # The same distance on both sides: nothing is shifted against the bins.
    assert abs((changed - touched.min()) - (touched.max() - changed)) <= 1


@pytest.mark.parametrize(("bin_size", "depth"), [(128, 3), (60, 4), (50, 1)])
def test_the_other_strand_read_by_mirrored_kernels_gives_mirrored_embeddings(bin_size, depth):
    tower = DnaTower(bin_size, depth, 8).double()
    mirrored = copy.deepcopy(tower)
    with torch.no_grad():
        for module in mirrored.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.copy_(module.weight.flip(3))
        first = mirrored.bases.block.conv.weight
        first.copy_(first.flip(1))  # A <-> T, C <-> G
    codes = random_codes(2, 10 * bin_size)
    torch.testing.assert_close(mirrored(reverse_complement(codes)), tower(codes).flip(1))


@pytest.mark.parametrize("bin_size", [2_000, 4_000, 5_000, 6_000, 10_000])
@pytest.mark.parametrize("depth", range(1, 7))
def test_a_tower_ends_at_one_embedding_per_bin_at_any_bin_size(bin_size, depth):
    with torch.no_grad():
        assert DnaTower(bin_size, depth, 4)(random_codes(1, 3 * bin_size)).shape == (1, 3, 4)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("bin_size", "depth"), [(64, 1), (64, 3), (50, 2)])
def test_chunks_change_neither_embeddings_nor_gradients(monkeypatch, bin_size, depth, training):
    tower = DnaTower(bin_size, depth, 8).double().train(training)
    codes = random_codes(2, 12 * bin_size)
    results = []
    for chunk in (1 << 20, 3 * bin_size, 1):
        monkeypatch.setitem(dna.CHUNK_BASES, "cpu", chunk)
        tower.zero_grad()
        out = tower(codes)
        (out * torch.linspace(-1, 1, out.numel()).double().reshape(out.shape)).sum().backward()
        results.append([out.detach(), *(p.grad.clone() for p in tower.parameters())])
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_chunks_change_nothing_of_the_pooled_encoder(monkeypatch, training):
    """The whole at once is the report's own arithmetic: convolutions, mean, projection."""
    encoder = PooledDna(8).double().train(training)
    codes = random_codes(2, 200)
    features = encoder.convs(one_hot(codes, torch.float64)).mean(dim=(2, 3))
    expected = encoder.project(features)[:, None]
    grads = torch.autograd.grad(expected.square().sum(), list(encoder.parameters()))
    for chunk in (1 << 15, 64, 7):
        monkeypatch.setitem(dna.CHUNK_BASES, "cpu", chunk)
        encoder.zero_grad()
        found = encoder(codes)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        found.square().sum().backward()
        torch.testing.assert_close([p.grad for p in encoder.parameters()], list(grads))


@pytest.mark.parametrize("flank", [1, 4])
def test_flanks_are_read_but_get_no_embedding(flank):
    """What a window's first bin sees beyond the window is its flank, as in a longer window."""
    tower = DnaTower(64, 2, 8, flank_bins=flank)
    whole = DnaTower(64, 2, 8)
    whole.load_state_dict(tower.state_dict())
    codes = random_codes(1, (10 + 2 * flank) * 64)
    assert torch.equal(tower(codes), whole(codes)[:, flank:-flank])
    changed = codes.clone()
    changed[:, (flank - 1) * 64 : flank * 64] = 4
    assert (tower(changed) - tower(codes))[:, 0].abs().max() > 0


@pytest.mark.parametrize("context", ["dilated", "attention"])
def test_context_layers_reach_further(context):
    codes = random_codes(1, 40 * 32)
    other = codes.clone()
    other[:, :32] = random_codes(1, 32, seed=1)

    def reach(layers):
        torch.manual_seed(0)
        tower = DnaTower(32, 1, 8, context=context, layers=layers)
        return int((tower(codes) - tower(other)).abs().amax(dim=(0, 2)).nonzero().max())

    near = reach(0)
    assert near <= 5
    assert reach(2) == (39 if context == "attention" else near + 2 + 4)


def test_the_pooled_encoder_is_the_reports():
    encoder = PooledDna(1024)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 404_672
    assert encoder(random_codes(2, 300)).shape == (2, 1, 1024)
