import torch

from hicray.model.decoder import Decoder
from hicray.model.encoder import PRESETS


def test_dna_tokens_reach_the_map_but_have_no_pixels():
    decoder = Decoder(PRESETS["tiny"], patch_rows=2, patch_cols=3)
    tokens, dna = torch.randn(2, 8, 64), torch.randn(2, 5, 64)
    without, with_dna = decoder(tokens, 2, 3), decoder(tokens, 2, 3, dna)
    assert without.shape == with_dna.shape == (2, 32, 48)
    assert not torch.allclose(without, with_dna)


def test_a_patch_lands_where_it_was_cut():
    decoder = Decoder(PRESETS["tiny"], patch_rows=2, patch_cols=3)
    decoder.blocks = torch.nn.Sequential()  # no attention: every patch on its own
    tokens = torch.randn(1, 8, 64)
    other = tokens.clone()
    other[:, 2 + 4] += torch.randn(64)  # patch 4: second row, second column
    changed = (decoder(tokens, 2, 3) != decoder(other, 2, 3))[0]
    assert changed[16:, 16:32].any()
    changed[16:, 16:32] = False
    assert not changed.any()
