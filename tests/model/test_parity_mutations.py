"""Every mistake on this list must be seen by the parity check, or the check proves little."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hicray.model import decoder as decoder_module
from hicray.model import encoder as encoder_module
from hicray.model import hicfoundation, patches
from tests import parity
from tests.parity import check_map, check_tables

FIXTURE = "tiny_b"
"""Its large weights and odd shape show what the others hide."""
count_token, sincos_1d = patches.count_token, patches.sincos_1d


def setting(module, name, value):
    return lambda patch: patch.setattr(module, name, value)


def counting(function):
    return setting(encoder_module, "count_token", function)


def heads(encoder, decoder):
    return lambda patch: patch.setitem(parity.HEADS, FIXTURE, (encoder, decoder))


def loading(change):
    """Change the network after it has been loaded."""

    def changed(load, *args, **kwargs):
        network = load(*args, **kwargs)
        with torch.no_grad():
            change(network)
        return network

    def mutate(patch):
        patch.setattr(hicfoundation, "load", partial(changed, hicfoundation.load))

    return mutate


def mae_ladder(reads, dim):
    depth = reads.log10()
    omega = patches.BASE ** (-torch.arange(dim // 2, dtype=depth.dtype) / (dim / 2))
    angles = depth[:, None] * omega
    return torch.cat([angles.sin(), angles.cos()], dim=1) + 1


def cosines_first(reads, dim):
    return count_token(reads, dim).roll(dim // 2, dims=1)


def natural_logarithm(reads, dim):
    return count_token(10 ** reads.log(), dim)


def unknown_reads(reads, dim):
    return count_token(torch.full_like(reads, 1e9), dim)


def column_major_pixels(tiles, rows, cols):
    side = patches.PATCH
    turned = tiles.unflatten(-1, (side, side)).transpose(-1, -2).flatten(-2)
    return patches.unpatchify(turned, rows, cols)


def column_major_patches(tiles, rows, cols):
    return patches.unpatchify(tiles, cols, rows).reshape(-1, rows * patches.PATCH, cols * 16)


def row_zero_on_cls(network):
    network.encoder.cls_token += network.encoder.pos_embed[:, :1]


def positions_shifted(network):
    table = network.encoder.pos_embed
    table.copy_(table.roll(1, dims=1))


def no_decoder_positions(network):
    network.decoder.pos_embed.zero_()


def no_encoder_norm(network):
    network.encoder.norm = nn.Identity()


def no_decoder_norm(network):
    network.decoder.norm = nn.Identity()


def values_before_keys(network):
    for block in network.encoder.blocks:
        query, key, value = block.attn.qkv.weight.clone().chunk(3)
        block.attn.qkv.weight.copy_(torch.cat([query, value, key]))


def no_query_bias(network):
    for block in network.decoder.blocks:
        block.attn.qkv.bias.zero_()


def attention_unscaled(network):
    for block in network.encoder.blocks:
        block.attn.scale = 1.0
        block.attn.fused_attn = False


def blocks_reversed(network):
    network.encoder.blocks = nn.Sequential(*reversed(network.encoder.blocks))


def tanh_gelu(_, x):
    return F.gelu(x, approximate="tanh")


MAP_MUTATIONS = {
    "encoder eps 1e-5": setting(encoder_module, "ENCODER_EPS", 1e-5),
    "decoder eps 1e-6": setting(decoder_module, "DECODER_EPS", 1e-6),
    "tanh GELU": setting(nn.GELU, "forward", tanh_gelu),
    "count ladder as in MAE": counting(mae_ladder),
    "cosines before sines in the count token": counting(cosines_first),
    "ln instead of log10 in the count token": counting(natural_logarithm),
    "count ignored": counting(unknown_reads),
    "half the encoder's heads": heads(3, 5),
    "one decoder head": heads(6, 1),
    "attention without its scale": loading(attention_unscaled),
    "values before keys": loading(values_before_keys),
    "no bias in the decoder's attention": loading(no_query_bias),
    "position row 0 added to cls": loading(row_zero_on_cls),
    "positions shifted by the row of cls": loading(positions_shifted),
    "no positions in the decoder": loading(no_decoder_positions),
    "no final norm in the encoder": loading(no_encoder_norm),
    "no final norm in the decoder": loading(no_decoder_norm),
    "blocks in reverse": loading(blocks_reversed),
    "pixels of a patch column-major": setting(decoder_module, "unpatchify", column_major_pixels),
    "patches column-major": setting(decoder_module, "unpatchify", column_major_patches),
}


def rows_first(rows, cols, dim):
    row, col = (sincos_1d(torch.arange(n).double(), dim // 2) for n in (rows, cols))
    return torch.cat([row.repeat_interleave(cols, 0), col.repeat(rows, 1)], dim=1)


def from_one(positions, dim):
    return sincos_1d(positions + 1, dim)


def cosines_before_sines(positions, dim):
    return sincos_1d(positions, dim).roll(dim // 2, dims=1)


def interleaved(positions, dim):
    sines, cosines = sincos_1d(positions, dim).chunk(2, dim=1)
    return torch.stack([sines, cosines], dim=2).flatten(1)


TABLE_MUTATIONS = {
    "the first half is the row": setting(patches, "sincos_2d", rows_first),
    "positions from 1": setting(patches, "sincos_1d", from_one),
    "cosines before sines": setting(patches, "sincos_1d", cosines_before_sines),
    "sines and cosines in turn": setting(patches, "sincos_1d", interleaved),
    "another longest wavelength": setting(patches, "BASE", 1_000.0),
}


def test_without_a_mutation_the_checks_pass():
    check_map(FIXTURE)
    check_tables()


@pytest.mark.parametrize("mutation", MAP_MUTATIONS)
def test_a_wrong_network_does_not_pass(mutation, monkeypatch):
    MAP_MUTATIONS[mutation](monkeypatch)
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        check_map(FIXTURE)


@pytest.mark.parametrize("mutation", TABLE_MUTATIONS)
def test_wrong_position_tables_do_not_pass(mutation, monkeypatch):
    TABLE_MUTATIONS[mutation](monkeypatch)
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        check_tables()


def test_the_ones_added_to_the_count_token_take_no_part(monkeypatch):
    """A constant on all channels is what every norm removes: no mutation, whatever it looks."""
    counting(lambda reads, dim: count_token(reads, dim) - 1)(monkeypatch)
    check_map(FIXTURE)
