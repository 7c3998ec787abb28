import pytest
import torch

from hicray.model import patches


def test_unpatchify_undoes_patchify():
    maps = torch.randn(2, 32, 48)
    cut = patches.patchify(maps)
    assert cut.shape == (2, 6, 256)
    assert torch.equal(patches.unpatchify(cut, 2, 3), maps)


def test_patches_and_their_pixels_are_row_major():
    maps = torch.arange(32 * 48.0).reshape(1, 32, 48)
    assert patches.patchify(maps)[0, 1, 17] == maps[0, 1, 17]
    assert patches.patchify(maps)[0, 3, 0] == maps[0, 16, 0]


def test_the_first_half_of_a_position_is_the_column():
    table = patches.sincos_2d(3, 5, 16).reshape(3, 5, 16)
    assert torch.equal(table[0, :, :8], table[2, :, :8])
    assert torch.equal(table[:, 0, 8:], table[:, 4, 8:])
    assert not torch.equal(table[:, 0, 8:][0], table[:, 0, 8:][1])
    assert table[0, 3, 0] == pytest.approx(torch.tensor(3.0).sin().item())


def test_a_bin_shares_its_code_with_the_patch_over_it():
    """A segment as wide as a patch has exactly the code of a patch on the diagonal."""
    diagonal = patches.sincos_2d(4, 4, 16).reshape(4, 4, 16).diagonal().T
    torch.testing.assert_close(patches.sincos_bins(4, 4, 16), diagonal)
    assert patches.sincos_bins(64, 4, 16).shape == (64, 16)


def test_count_token_is_finite_for_an_empty_map():
    assert patches.count_token(torch.tensor([0.0, 1e9]), 8).isfinite().all()


def test_a_table_of_the_right_size_is_kept_as_it_is():
    table = torch.randn(9, 4)
    assert torch.equal(patches.resize_positions(table, 3, 3), table)


def test_resizing_keeps_a_constant_table_constant():
    resized = patches.resize_positions(torch.full((9, 4), 2.0), 4, 6)
    torch.testing.assert_close(resized, torch.full((24, 4), 2.0))


def test_only_square_tables_are_resized():
    with pytest.raises(ValueError, match="10 positions"):
        patches.resize_positions(torch.zeros(10, 4), 3, 3)
