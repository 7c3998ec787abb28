import pytest
import torch

from hicray.config import ModelConfig, UserError
from hicray.model.coarse_path import CoarsePath
from hicray.model.enhancer import Enhancer
from hicray.windows.inputs import EVIDENCE, HEAD, USABLE
from hicray.windows.smoothing import smoothed_base

BINS, BIN_SIZE, GAP = 32, 24, 2
FUSIONS = ("tokens", "pairwise", "both")


def build(**choices):
    torch.manual_seed(0)
    config = ModelConfig(**{"preset": "tiny", "dna_channels": 8, "depth": 2} | choices)
    return Enhancer(config, window_bins=BINS, bin_size=BIN_SIZE, factor=GAP)


def windows(batch=3, *, diagonal=(0, 5, -40), off_diagonal=True):
    """Arguments of a model: windows on, above and below the diagonal."""
    generator = torch.Generator().manual_seed(1)
    base = torch.rand(batch, BINS, BINS, generator=generator)
    evidence = torch.randn(batch, EVIDENCE, BINS // GAP, BINS // GAP, generator=generator)
    codes = torch.randint(0, 5, (2, batch, BINS * BIN_SIZE), generator=generator).to(torch.uint8)
    return {
        "image": torch.randn(batch, 3, BINS, BINS, generator=generator),
        "total_reads": torch.full((batch,), 1e7),
        "base": (base + base.mT) / 2,
        "expected": torch.rand(batch, BINS, BINS, generator=generator),
        "evidence": evidence,
        "diagonal": torch.tensor(diagonal)[:batch],
        "row_bases": codes[0],
        "col_bases": codes[1] if off_diagonal else None,
    }


def on_the_diagonal(batch=3):
    return windows(batch, diagonal=(0,) * batch, off_diagonal=False)


def disturb(model):
    """Move every parameter off its initial value, the zeros of the last layers included."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def num_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("dna", ["tower", "pooled"])
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("sequence", ["on", "off", "blank"])
def test_every_arm_starts_exactly_at_the_base(sequence, fusion, dna):
    model = build(sequence=sequence, fusion=fusion, dna=dna)
    for batch in (windows(), on_the_diagonal()):
        assert torch.equal(model(**batch), batch["base"])


@pytest.mark.parametrize("fusion", FUSIONS)
def test_what_on_and_off_share_starts_equal(fusion):
    on, off = build(fusion=fusion).state_dict(), build(fusion=fusion, sequence="off").state_dict()
    assert off.keys() <= on.keys()
    assert all(torch.equal(on[key], value) for key, value in off.items())


@pytest.mark.parametrize("dna", ["tower", "pooled"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_blank_has_the_parameters_of_on(fusion, dna):
    on, blank = (build(sequence=s, fusion=fusion, dna=dna) for s in ("on", "blank"))
    off = build(sequence="off", fusion=fusion)
    assert num_parameters(on) == num_parameters(blank) > num_parameters(off)


@pytest.mark.parametrize("sequence", ["on", "off", "blank"])
def test_without_a_coarse_path_its_evidence_is_not_read(sequence):
    model, batch = disturb(build(sequence=sequence, coarse_path="off")), windows()
    assert not any("coarse" in name for name in model.state_dict())
    other = batch | {"evidence": batch["evidence"] + 1}
    assert torch.equal(model(**batch), model(**other))
    with_path = disturb(build(sequence=sequence))
    assert not torch.equal(with_path(**batch), with_path(**other))


@pytest.mark.parametrize(("preset", "channels"), [("tiny", 32), ("small", 48), ("large", 64)])
def test_the_coarse_path_is_as_wide_as_its_preset_says_or_as_asked(preset, channels):
    with torch.device("meta"):
        own = build(preset=preset, sequence="off").head.coarse
        asked = build(
            preset=preset, sequence="off", coarse_channels=24, coarse_blocks=6
        ).head.coarse
    assert own.correct.in_channels == channels
    assert asked.correct.in_channels == 24
    assert len(asked.body) == len(own.body) + 2


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_correction_lies_at_the_fine_pixels_of_its_coarse_one(factor):
    """A change of one coarse pixel moves those around it, and the pixel shuffle keeps its place."""
    path = CoarsePath(8, 1, factor=factor, features=3)
    for parameter in path.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    side = 20
    evidence = torch.randn(1, EVIDENCE, side, side)
    other = evidence.clone()
    other[..., 9, 13] += 0.01
    torch.nn.init.zeros_(path.body[1].body[-1].weight)
    correction, features = path(evidence)
    assert features.shape == (1, 3, side * factor, side * factor)
    moved = (path(other)[0] - correction)[0].abs() > 1e-9
    rows, cols = (axis.unique() for axis in torch.nonzero(moved, as_tuple=True))
    assert (rows.min(), rows.max()) == (8 * factor, 11 * factor - 1)
    assert (cols.min(), cols.max()) == (12 * factor, 15 * factor - 1)


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("sequence", ["on", "off", "blank"])
def test_windows_on_the_diagonal_come_out_symmetric(sequence, residual):
    model = disturb(build(sequence=sequence, residual=residual))
    enhanced = model(**windows())
    assert torch.equal(enhanced[0], enhanced[0].T)
    assert not torch.allclose(enhanced[1], enhanced[1].T)


@pytest.mark.parametrize("dna", ["tower", "pooled"])
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("sequence", ["on", "off", "blank"])
def test_every_parameter_learns(sequence, fusion, dna):
    """Nothing is left out of the graph, so DDP needs no search for unused parameters."""
    model = build(sequence=sequence, fusion=fusion, dna=dna)
    batch, optimizer = windows(), torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (model(**batch) - 1).square().mean().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        optimizer.step()
    still = {name for name, p in model.named_parameters() if not p.grad.abs().max() > 0}
    # An unknown base is all zeros: nothing for the first convolution's weights to learn from.
    unread = {"head.dna.bases.block.conv.weight", "head.dna.convs.0.weight"}
    assert still <= (unread if sequence == "blank" else set())


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_first_step_moves_the_last_layer_and_the_second_all_before_it(fusion):
    model = build(fusion=fusion)
    batch, optimizer = windows(), torch.optim.SGD(model.parameters(), lr=0.1)
    moved = []
    for _ in range(2):
        optimizer.zero_grad()
        (model(**batch) - 1).square().mean().backward()
        optimizer.step()
        moved.append({name for name, p in model.named_parameters() if p.grad.abs().max() > 0})
    last = ("head.decoder.map" if fusion == "tokens" else "head.pixels.out", "head.coarse.correct")
    assert moved[0] == {f"{one}.{kind}" for one in last for kind in ("weight", "bias")}
    assert moved[1] == dict(model.named_parameters()).keys()


@pytest.mark.parametrize("dna", ["tower", "pooled"])
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("axis", ["row_bases", "col_bases"])
def test_dna_reaches_the_output_only_when_it_is_on(axis, fusion, dna):
    batch = windows()
    other = batch | {axis: (batch[axis] + 1) % 5}
    for sequence in ("on", "off", "blank"):
        model = disturb(build(sequence=sequence, fusion=fusion, dna=dna))
        assert torch.equal(model(**batch), model(**other)) == (sequence != "on")


def test_dna_changes_the_pixels_of_its_own_bin_most():
    model = disturb(build(fusion="pairwise", depth=1))
    batch = windows(2, diagonal=(64, 64))
    other = batch | {"row_bases": batch["row_bases"].clone()}
    other["row_bases"][:, 10 * BIN_SIZE : 11 * BIN_SIZE] = 4
    by_row = (model(**batch) - model(**other)).abs().mean(dim=(0, 2))
    assert by_row.argmax() in (9, 10, 11)
    assert by_row[20:].max() == 0


def test_one_axis_twice_is_two_axes_at_the_pixels():
    """Leaving the columns' DNA out means that it is the rows'."""
    model = disturb(build(fusion="pairwise"))
    batch = on_the_diagonal()
    both = model(**batch | {"col_bases": batch["row_bases"]})
    torch.testing.assert_close(model(**batch), both)


def test_pair_features_turn_with_the_window():
    """The window across the diagonal has the transposed features."""
    pairs = disturb(build()).head.pairs
    row, col = torch.randn(2, 1, BINS, 8)
    separation = 7 + torch.arange(BINS) - torch.arange(BINS)[:, None]
    above = pairs(row, col, separation[None])
    below = pairs(col, row, -separation.T[None])
    # At separation zero either end may count as upstream.
    apart = (separation != 0).expand_as(above)
    torch.testing.assert_close(below.mT[apart], above[apart])


@pytest.mark.parametrize("sequence", ["on", "off", "blank"])
def test_a_window_does_not_depend_on_its_batch(sequence):
    model = disturb(build(sequence=sequence)).double()
    batch = windows()
    for name in ("image", "total_reads", "base", "evidence"):
        batch[name] = batch[name].double()
    together = model(**batch)
    for i in range(3):
        alone = model(**{name: value[i : i + 1] for name, value in batch.items()})
        torch.testing.assert_close(alone[0], together[i])


def test_the_head_alone_continues_from_stored_tokens():
    model, batch = disturb(build()), windows()
    tokens = model.encoder(batch["image"], batch["total_reads"])
    rest = {name: batch[name] for name in HEAD if name in batch}
    assert torch.equal(model.head(tokens, **rest), model(**batch))


def test_without_residual_the_output_does_not_start_at_the_base():
    batch = windows()
    for fusion in FUSIONS:
        enhanced = build(residual=False, fusion=fusion)(**batch)
        assert 0 < enhanced.std() < 1
        assert (enhanced - batch["base"]).abs().mean() > 0.1


def test_a_frozen_encoder_has_nothing_to_train():
    model = build(encoder="frozen")
    assert not any(parameter.requires_grad for parameter in model.encoder.parameters())
    assert all(parameter.requires_grad for parameter in model.head.parameters())


@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("sequence", ["on", "off", "blank"])
def test_models_export_with_any_batch_size(sequence, diagonal):
    model = disturb(build(sequence=sequence))
    example = on_the_diagonal(2) if diagonal else windows(2)
    if sequence == "off":
        example |= {"row_bases": None, "col_bases": None}
    batch = torch.export.Dim("batch", min=1, max=64)
    axes = {name: None if value is None else {0: batch} for name, value in example.items()}
    exported = torch.export.export(model, (), kwargs=example, dynamic_shapes=axes).module()
    other = on_the_diagonal(3) if diagonal else windows(3)
    other = {name: None if example[name] is None else other[name] for name in example}
    torch.testing.assert_close(exported(**other), model(**other))


def test_bf16_autocast_starts_at_the_base_too():
    batch = windows()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(build()(**batch), batch["base"])


def test_a_window_that_is_no_whole_number_of_patches_is_refused():
    with pytest.raises(UserError, match="40 bins"):
        Enhancer(ModelConfig(preset="tiny"), window_bins=40, bin_size=8, factor=2)


@pytest.mark.parametrize("sequence", ["on", "blank"])
def test_a_model_takes_its_flanks_out_of_wider_ones(sequence):
    model = disturb(build(sequence=sequence, flank_bins=1))
    batch = on_the_diagonal()
    generator = torch.Generator().manual_seed(3)
    bases = (BINS + 6) * BIN_SIZE
    wide = torch.randint(0, 5, (3, bases), generator=generator).to(torch.uint8)
    narrow = wide[:, 2 * BIN_SIZE : -2 * BIN_SIZE]
    from_wide = model(**batch | {"row_bases": wide})
    assert torch.equal(from_wide, model(**batch | {"row_bases": narrow}))


@pytest.mark.parametrize("context", ["dilated", "attention"])
def test_context_layers_learn_with_the_rest(context):
    model = build(context=context, context_layers=2)
    disturb(model)(**on_the_diagonal()).square().mean().backward()
    far = model.head.dna.layers.far
    assert sum(1 for _ in far.parameters())
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in far.parameters())


def test_missing_or_short_dna_is_refused():
    model, batch = build(), on_the_diagonal()
    with pytest.raises(ValueError, match="given none"):
        model(**batch | {"row_bases": None})
    with pytest.raises(ValueError, match="do not cover 32 bins"):
        model(**batch | {"row_bases": batch["row_bases"][:, 1:]})


def test_a_smoothed_start_is_where_an_untrained_network_stands():
    torch.manual_seed(0)
    batch = on_the_diagonal()
    batch["expected"] = (batch["expected"] + batch["expected"].mT) / 2
    model = build(start_width_bins=1.5, sequence="off").eval()
    batch["evidence"] = (batch["evidence"] > 0).float()
    usable = batch["evidence"][:, USABLE]
    batch["evidence"][:, USABLE] = usable = torch.maximum(usable, usable.mT)
    with torch.no_grad():
        found = model(**batch)
    expected = smoothed_base(batch["base"], batch["expected"], usable, 1.5)
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, batch["base"], atol=0.01)
