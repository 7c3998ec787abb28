"""The contact encoder: HiCFoundation's vision transformer, built from timm's blocks.

Axis names: ``batch``; ``rows cols`` are fine bins of a window; ``tokens`` are [cls, count, patches
row-major]; ``dim`` is the encoder's width.
"""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from hicray.config import Preset
from hicray.model.patches import PATCH, count_token, sincos_2d

ENCODER_EPS = 1e-6
"""LayerNorm's epsilon here; HiCFoundation's fine-tuning decoder has another."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Widths and depths of the contact encoder, the decoder, the pixel path and the coarse path."""

    dim: int
    depth: int
    heads: int
    decoder_dim: int
    decoder_depth: int
    decoder_heads: int
    pixel_channels: int = 32
    coarse_channels: int = 64


PRESETS: dict[Preset, Size] = {
    "large": Size(dim=1024, depth=24, heads=16, decoder_dim=512, decoder_depth=8, decoder_heads=16),
    "base": Size(dim=768, depth=12, heads=12, decoder_dim=512, decoder_depth=8, decoder_heads=16),
    "small": Size(
        dim=384,
        depth=12,
        heads=6,
        decoder_dim=256,
        decoder_depth=4,
        decoder_heads=8,
        pixel_channels=24,
        coarse_channels=48,
    ),
    "tiny": Size(
        dim=64,
        depth=2,
        heads=4,
        decoder_dim=64,
        decoder_depth=2,
        decoder_heads=4,
        pixel_channels=16,
        coarse_channels=32,
    ),
}


def transformer_blocks(dim: int, depth: int, heads: int, *, eps: float) -> nn.Sequential:
    """Stack pre-norm transformer blocks: biased qkv, exact GELU, hidden layer of 4 x ``dim``.

    Args:
        dim: Width of a token.
        depth: How many blocks.
        heads: Attention heads of each.
        eps: Of the normalisations.
    """
    norm = partial(nn.LayerNorm, eps=eps)
    return nn.Sequential(
        *(
            Block(dim, heads, mlp_ratio=4.0, qkv_bias=True, norm_layer=norm)  # type: ignore[arg-type]  # timm takes any factory
            for _ in range(depth)
        )
    )


class ContactEncoder(nn.Module):
    """Turns a window's image into tokens, exactly as HiCFoundation's fine-tuning backbone does.

    The position table has HiCFoundation's shape: its first row, meant for cls, takes no part.
    It starts as sines and cosines and is trained.
    """

    def __init__(self, size: Size, *, patch_rows: int, patch_cols: int) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, size.dim, kernel_size=PATCH, stride=PATCH)
        self.cls_token = nn.Parameter(torch.randn(1, 1, size.dim) * 0.02)
        positions = sincos_2d(patch_rows, patch_cols, size.dim)
        self.pos_embed = nn.Parameter(torch.cat([torch.zeros(1, size.dim), positions])[None])
        self.blocks = transformer_blocks(size.dim, size.depth, size.heads, eps=ENCODER_EPS)
        self.norm = nn.LayerNorm(size.dim, eps=ENCODER_EPS)

    def forward(
        self, image: Float[Tensor, "batch 3 rows cols"], total_reads: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch tokens dim"]:
        patches = self.patch_embed(image).flatten(2).transpose(1, 2) + self.pos_embed[:, 1:]
        cls = self.cls_token.expand(image.shape[0], -1, -1)
        count = count_token(total_reads, patches.shape[2])[:, None].to(patches.dtype)
        tokens: Tensor = self.norm(self.blocks(torch.cat([cls, count, patches], dim=1)))
        return tokens
