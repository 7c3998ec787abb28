import argparse

import pytest
import torch
from safetensors.torch import save_file

from hicray.config import ModelConfig, UserError
from hicray.model import enhancer as enhancer_module
from hicray.model import hicfoundation
from hicray.model.encoder import Size
from hicray.model.enhancer import Enhancer
from hicray.windows.inputs import EVIDENCE
from tests.parity import GOLDEN, weights_of

SIZE_D = Size(
    dim=64,
    depth=2,
    heads=4,
    decoder_dim=32,
    decoder_depth=1,
    decoder_heads=4,
    pixel_channels=8,
)


def saved(weights, path):
    save_file(weights, path)
    return path


@pytest.fixture
def tiny_d(monkeypatch):
    """An Enhancer of tiny_d's size, with a window of 96 bins (6 x 6 patches)."""
    monkeypatch.setitem(enhancer_module.PRESETS, "tiny", SIZE_D)

    def build(**choices):
        config = ModelConfig(preset="tiny", sequence="off", **choices)
        return Enhancer(config, window_bins=96, bin_size=8, factor=2)

    return build


@pytest.mark.parametrize("wrap", ["model", "state_dict", "bare"])
def test_pickled_checkpoints_are_read_with_their_command_line(tmp_path, wrap):
    weights = weights_of("tiny_a")
    content = weights if wrap == "bare" else {wrap: weights, "epoch": 3}
    if wrap == "model":
        content["args"] = argparse.Namespace(lr=0.1)
    torch.save(content, tmp_path / "model.pth.tar")
    read = hicfoundation.read(tmp_path / "model.pth.tar")
    assert read.keys() == weights.keys()


def test_files_from_before_zip_archives_are_read(tmp_path):
    weights, path = weights_of("tiny_a"), tmp_path / "old.pth.tar"
    torch.save({"model": weights}, path, _use_new_zipfile_serialization=False)
    assert hicfoundation.read(path).keys() == weights.keys()


def test_changing_a_loaded_network_leaves_its_file_alone(tmp_path):
    path = tmp_path / "model.pth.tar"
    torch.save({"model": weights_of("tiny_a")}, path)
    before = path.read_bytes()
    network = hicfoundation.load(path, num_heads=4, decoder_num_heads=4)
    with torch.no_grad():
        network.encoder.norm.weight += 1
    assert path.read_bytes() == before


class Trap:
    def __reduce__(self):
        return print, ("code ran",)


def test_a_pickle_with_code_in_it_is_refused(tmp_path, capsys):
    torch.save({"model": weights_of("tiny_a"), "trap": Trap()}, tmp_path / "model.pth.tar")
    with pytest.raises(UserError, match="not a readable checkpoint"):
        hicfoundation.load(tmp_path / "model.pth.tar")
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["broken.pth.tar", "broken.safetensors"])
def test_broken_and_absent_files_are_refused(tmp_path, name):
    with pytest.raises(UserError, match="no checkpoint at"):
        hicfoundation.load(tmp_path / name)
    for content in (b"nothing of the kind", b"", b"\x80\x02"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="not a readable checkpoint"):
            hicfoundation.load(tmp_path / name)


def test_unknown_missing_and_misshapen_keys_are_listed(tmp_path):
    weights = weights_of("tiny_a")
    weights["vit_backbone.surprise"] = torch.zeros(1)
    del weights["decoder_norm.bias"]
    weights["vit_backbone.norm.bias"] = torch.zeros(3)
    path = saved(weights, tmp_path / "w.safetensors")
    with pytest.raises(UserError) as caught:
        hicfoundation.load(path, num_heads=4, decoder_num_heads=4)
    for part in ("encoder.surprise", "decoder.norm.bias", r"encoder.norm.bias (3,), not (64,)"):
        assert part in str(caught.value)


def test_every_fault_of_a_pretrained_file_is_listed(tiny_d, tmp_path):
    weights = weights_of("tiny_d_pretrain")
    weights |= {"decoder_pred.surprise": torch.zeros(1), "decoder_map.scale": torch.zeros(1)}
    del weights["blocks.1.attn.qkv.bias"], weights["decoder_pos_embed"]
    weights["decoder_embed.weight"] = torch.zeros(32, 63)
    path = saved(weights, tmp_path / "w.safetensors")
    with pytest.raises(UserError) as caught:
        hicfoundation.load_into(tiny_d(), path)
    assert str(caught.value) == (
        f"{path} does not fit this network; unknown: decoder.map.scale, decoder.pred.surprise; "
        "missing: decoder.pos_embed, encoder.blocks.1.attn.qkv.bias; "
        "of another shape: decoder.embed.weight (32, 63), not (32, 64)"
    )


def test_a_refused_file_leaves_the_enhancer_as_it_was(tiny_d, tmp_path):
    weights = weights_of("tiny_d_pretrain")
    del weights["decoder_norm.bias"]
    path = saved(weights, tmp_path / "w.safetensors")
    model = tiny_d()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UserError, match=r"missing: decoder\.norm\.bias"):
        hicfoundation.load_into(model, path)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_two_keys_for_one_tensor_are_refused(tiny_d, tmp_path):
    weights = weights_of("tiny_d_pretrain")
    weights["patch_embed.bias"] = weights["patch_embed.proj.bias"] + 1
    path = saved(weights, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"are both encoder\.patch_embed\.bias"):
        hicfoundation.load_into(tiny_d(), path)


def test_the_layer_that_is_written_twice_must_agree(tmp_path):
    weights = weights_of("tiny_a")
    weights["patch_embed.proj.bias"] = weights["patch_embed.proj.bias"] + 1
    path = saved(weights, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="are one layer"):
        hicfoundation.load(path, num_heads=4, decoder_num_heads=4)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(UserError, match="16 heads do not divide a width of 40"):
        hicfoundation.load(GOLDEN / "tiny_b_weights.safetensors")


def test_a_pretrained_file_has_no_map_to_load():
    with pytest.raises(UserError, match=r"no decoder\.map\.weight"):
        hicfoundation.load(GOLDEN / "tiny_d_pretrain_weights.safetensors", num_heads=4)


def test_position_tables_are_resized_as_upstream_resizes_them():
    """Upstream turned the pre-trained 7 x 7 tables into 6 x 10 ones."""
    before, after = weights_of("tiny_d_pretrain"), weights_of("tiny_d_finetune")
    for old, new, first in (
        ("pos_embed", "vit_backbone.pos_embed", 1),
        ("decoder_pos_embed", "decoder_pos_embed", 0),
    ):
        resized = hicfoundation.resize_positions(before[old][0, first:], 6, 10)
        torch.testing.assert_close(resized, after[new][0, first:])


@pytest.mark.parametrize("fusion", ["tokens", "both"])
def test_an_enhancer_starts_from_a_pretrained_file(tiny_d, fusion):
    model = tiny_d(fusion=fusion)
    hicfoundation.load_into(model, GOLDEN / "tiny_d_pretrain_weights.safetensors")
    weights = weights_of("tiny_d_finetune")  # upstream's own loading of the same file
    encoder, decoder = model.encoder.state_dict(), model.head.decoder.state_dict()
    assert torch.equal(
        encoder["blocks.1.mlp.fc1.weight"], weights["vit_backbone.blocks.1.mlp.fc1.weight"]
    )
    assert torch.equal(encoder["patch_embed.weight"], weights["patch_embed.proj.weight"])
    assert torch.equal(decoder["blocks.0.attn.qkv.bias"], weights["decoder_blocks.0.attn.qkv.bias"])
    assert torch.equal(decoder["norm.weight"], weights["decoder_norm.weight"])
    assert encoder["pos_embed"].shape == (1, 37, 64)
    assert (decoder["map.weight"].abs().max() > 0) == (fusion == "both")


def test_the_published_map_head_is_never_taken_for_a_correction(tiny_d, tmp_path):
    weights = weights_of("tiny_d_finetune")
    table = torch.randn(1, 36, 32)  # a square grid, as this model's is
    weights |= {"decoder_pos_embed": table, "vit_backbone.pos_embed": torch.randn(1, 37, 64)}
    path = saved(weights, tmp_path / "w.safetensors")
    for residual, fusion in ((True, "tokens"), (True, "both"), (False, "tokens")):
        model = tiny_d(residual=residual, fusion=fusion)
        hicfoundation.load_into(model, path)
        assert torch.equal(model.head.decoder.pos_embed, table)
        taken = torch.equal(model.head.decoder.map.weight, weights["decoder_map.weight"])
        assert taken == ((residual, fusion) != (True, "tokens"))


def test_an_enhancer_with_published_parts_gives_the_published_map(tiny_d, tmp_path):
    """Off the diagonal, without residual and pixels, an Enhancer is HiCFoundation."""
    weights = weights_of("tiny_d_finetune")
    tables = {"decoder_pos_embed": (1, 36, 32), "vit_backbone.pos_embed": (1, 37, 64)}
    weights |= {name: torch.randn(shape) for name, shape in tables.items()}
    path = saved(weights, tmp_path / "w.safetensors")
    model = tiny_d(residual=False, fusion="tokens", coarse_path="off")
    hicfoundation.load_into(model, path)
    published = hicfoundation.load(path, num_heads=4, decoder_num_heads=4)
    image, reads = torch.randn(2, 3, 96, 96), torch.tensor([1e8, 1e6])
    evidence = torch.rand(2, EVIDENCE, 48, 48)
    enhanced = model(image, reads, *torch.rand(2, 2, 96, 96), evidence, torch.tensor([500, 500]))
    assert torch.equal(enhanced, published(image, reads))


def test_a_file_of_another_size_is_refused():
    config = ModelConfig(preset="tiny", sequence="off")
    model = Enhancer(config, window_bins=96, bin_size=8, factor=2)
    with pytest.raises(UserError, match=r"of another shape: decoder\.blocks"):
        hicfoundation.load_into(model, GOLDEN / "tiny_a_weights.safetensors")


def test_a_file_of_an_unknown_grid_is_refused(tiny_d):
    with pytest.raises(UserError, match="not that of a square grid"):
        hicfoundation.load_into(tiny_d(), GOLDEN / "tiny_d_finetune_weights.safetensors")


def test_a_written_network_is_the_one_that_is_loaded(tmp_path):
    network = hicfoundation.HiCFoundation(SIZE_D, patches=9)
    hicfoundation.write(network, tmp_path / "own.safetensors")
    loaded = hicfoundation.load(tmp_path / "own.safetensors", num_heads=4, decoder_num_heads=4)
    assert loaded.state_dict().keys() == network.state_dict().keys()
    image, reads = torch.randn(1, 3, 48, 48), torch.tensor([1e7])
    assert torch.equal(loaded(image, reads), network(image, reads))
