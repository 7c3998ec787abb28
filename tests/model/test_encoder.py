import torch

from hicray.model.encoder import PRESETS, ContactEncoder
from hicray.model.patches import sincos_2d


def num_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_large_is_the_published_size():
    with torch.device("meta"):
        encoder = ContactEncoder(PRESETS["large"], patch_rows=14, patch_cols=14)
    assert num_parameters(encoder.blocks) == 302_309_376
    assert num_parameters(encoder) == 302_309_376 + 787_456 + 201_728 + 1_024 + 2_048


def test_tokens_are_cls_count_and_patches():
    encoder = ContactEncoder(PRESETS["tiny"], patch_rows=2, patch_cols=3)
    tokens = encoder(torch.randn(2, 3, 32, 48), torch.tensor([1e6, 1e8]))
    assert tokens.shape == (2, 2 + 6, 64)


def test_positions_start_as_sines_and_cosines():
    encoder = ContactEncoder(PRESETS["tiny"], patch_rows=2, patch_cols=3)
    assert torch.equal(encoder.pos_embed[0, 1:], sincos_2d(2, 3, 64))


def test_the_row_of_cls_in_the_position_table_takes_no_part():
    encoder = ContactEncoder(PRESETS["tiny"], patch_rows=1, patch_cols=1)
    image, reads = torch.randn(1, 3, 16, 16), torch.tensor([1e6])
    before = encoder(image, reads)
    with torch.no_grad():
        encoder.pos_embed[:, 0] += 1
    assert torch.equal(encoder(image, reads), before)


def test_the_number_of_reads_matters():
    encoder = ContactEncoder(PRESETS["tiny"], patch_rows=1, patch_cols=1)
    image = torch.randn(1, 3, 16, 16).expand(2, -1, -1, -1)
    shallow, deep = encoder(image, torch.tensor([1e6, 1e9]))
    assert not torch.allclose(shallow[2:], deep[2:])
