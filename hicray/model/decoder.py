"""The transformer decoder and its map head: HiCFoundation's, with room for DNA tokens.

Axis names: ``tokens`` are [cls, count, patches row-major]; ``dim`` is the encoder's width,
``decoder_dim`` the decoder's; ``dna_tokens`` come after the contact tokens; ``rows cols`` are
fine bins of a window.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hicray.model.encoder import Size, transformer_blocks
from hicray.model.patches import EXTRA_TOKENS, PATCH, sincos_2d, unpatchify

DECODER_EPS = 1e-5
"""LayerNorm's epsilon in HiCFoundation's fine-tuning decoder; its encoder has another."""


class Decoder(nn.Module):
    """Turns contact tokens, and DNA tokens if there are any, into one value per pixel.

    HiCFoundation's ``decoder_x`` is ``x`` here.
    """

    pos_embed: Tensor

    def __init__(self, size: Size, *, patch_rows: int, patch_cols: int) -> None:
        super().__init__()
        dim = size.decoder_dim
        self.embed = nn.Linear(size.dim, dim)
        self.register_buffer("pos_embed", sincos_2d(patch_rows, patch_cols, dim)[None])
        self.blocks = transformer_blocks(
            dim, size.decoder_depth, size.decoder_heads, eps=DECODER_EPS
        )
        self.norm = nn.LayerNorm(dim, eps=DECODER_EPS)
        self.map = nn.Linear(dim, PATCH * PATCH)

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens dim"],
        patch_rows: int,
        patch_cols: int,
        dna: Float[Tensor, "batch dna_tokens decoder_dim"] | None = None,
    ) -> Float[Tensor, "batch rows cols"]:
        x = self.embed(tokens)
        # The 1 on the count token is HiCFoundation's.
        parts = [x[:, :1], x[:, 1:EXTRA_TOKENS] + 1, x[:, EXTRA_TOKENS:] + self.pos_embed]
        # DNA comes last, so that the patches stand where they do without it.
        if dna is not None:
            parts.append(dna)
        x = self.norm(self.blocks(torch.cat(parts, dim=1)))
        patches = self.map(x[:, EXTRA_TOKENS : EXTRA_TOKENS + patch_rows * patch_cols])
        return unpatchify(patches, patch_rows, patch_cols)
