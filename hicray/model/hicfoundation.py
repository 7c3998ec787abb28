"""Published HiCFoundation checkpoints: the network as published, and its parts for an Enhancer.

Every key of a file is accounted for, because a file that half fits would leave the other half of
the network random without a word.

Axis names: ``batch``; ``rows cols`` are bins of a window.
"""

import re
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn

from hicray.config import UserError
from hicray.model.decoder import Decoder
from hicray.model.encoder import ContactEncoder, Size
from hicray.model.enhancer import Enhancer
from hicray.model.patches import PATCH, resize_positions
from hicray.model.weights import check, read

BACKBONE = "vit_backbone."
"""Prefix of the encoder's keys in fine-tuned files; pre-training's have none."""
UNUSED = {
    r"vit_backbone\.head\.(weight|bias)": "the classifier that timm builds, which takes no part",
    r"map_block\.(weight|bias)": "task 0's second head; the map does not depend on it",
    r"mask_token": "pre-training's fill for masked patches",
    r"decoder_pred\.(weight|bias)": "pre-training's image head",
    r"decoder_count\.(weight|bias)": "pre-training's read-count head",
}
"""Keys that are left out, and why; they must match in full."""
TWICE = r"patch_embed\.proj\.(weight|bias)"
"""Fine-tuned files hold this layer twice, as upstream shares it between its two parts."""


class HiCFoundation(nn.Module):
    """HiCFoundation's resolution task as published: no residual, no symmetrisation.

    Args of the forward pass are a normalised image and the raw reads of the whole map; the
    output is log10(contacts + 1) / log10(1001) on the image's own grid.
    """

    def __init__(self, size: Size, *, patches: int) -> None:
        super().__init__()
        # A file does not tell its grid, only the number of patches; both tables come from it.
        self.encoder = ContactEncoder(size, patch_rows=1, patch_cols=patches)
        self.decoder = Decoder(size, patch_rows=1, patch_cols=patches)

    def forward(
        self, image: Float[Tensor, "batch 3 rows cols"], total_count: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch rows cols"]:
        tokens = self.encoder(image, total_count)
        rows, cols = image.shape[2] // PATCH, image.shape[3] // PATCH
        enhanced: Tensor = self.decoder(tokens, rows, cols)
        return enhanced


def load(path: str | Path, *, num_heads: int = 16, decoder_num_heads: int = 16) -> HiCFoundation:
    """Load a fine-tuned checkpoint with a map head; sizes are read off its tensors.

    A .pth file's weights are mapped, not copied: it must not be overwritten while they are in use.

    Args:
        path: A .pth.tar, .pth or .safetensors file.
        num_heads: Attention heads of the encoder; no tensor tells them.
        decoder_num_heads: Attention heads of the decoder.

    Raises:
        UserError: The file cannot be read, or is not exactly such a checkpoint.
    """
    weights = _rename(read(path), path)
    size = _size(weights, num_heads, decoder_num_heads, path)
    with torch.device("meta"):
        network = HiCFoundation(size, patches=weights["decoder.pos_embed"].shape[1])
    check(weights, network.state_dict(), path)
    network.load_state_dict(weights, assign=True)
    return network.eval()


def write(network: HiCFoundation, path: str | Path) -> None:
    """Write a network as a .safetensors file under its authors' names: the inverse of ``load``."""
    named = {_upstream_name(key): value for key, value in network.state_dict().items()}
    save_file({key: value.contiguous() for key, value in named.items()}, path)


def _upstream_name(key: str) -> str:
    key = key.replace("patch_embed.", "patch_embed.proj.")
    if key.startswith("decoder."):
        return key.replace("decoder.", "decoder_", 1)
    return key.replace("encoder.", BACKBONE, 1)


def load_into(enhancer: Enhancer, path: str | Path) -> None:
    """Start an Enhancer's contact encoder and decoder from a pre-trained or fine-tuned file.

    Raises:
        UserError: The file cannot be read, or does not fit the model.
    """
    weights = fitting(enhancer, path)
    for prefix, module in (("encoder.", enhancer.encoder), ("head.", enhancer.head)):
        part = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        # A module without values, on the meta device, takes the file's as they are.
        empty = next(module.parameters()).is_meta
        module.load_state_dict(part, strict=False, assign=empty)


def fitting(enhancer: Enhancer, path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint under the names of an Enhancer's, each accounted for.

    Position tables are interpolated where the windows differ. The map head is taken if the file
    has one, unless its map would be taken for a correction (residual, tokens alone).

    Raises:
        UserError: The file cannot be read, or does not fit the model.
    """
    weights = _rename(read(path), path)
    wanted = {f"encoder.{key}": value for key, value in enhancer.encoder.state_dict().items()}
    decoder = enhancer.head.decoder
    wanted |= {f"decoder.{key}": value for key, value in decoder.state_dict().items()}
    _resize(weights, enhancer.head.patches, path)
    head = {"decoder.map.weight", "decoder.map.bias"}
    # With pixels, the published map is one of their inputs, whether or not they correct a base.
    corrects = enhancer.head.residual and enhancer.head.pixels is None
    if corrects or not head & weights.keys():
        weights = {key: value for key, value in weights.items() if key not in head}
        wanted = {key: value for key, value in wanted.items() if key not in head}
    check(weights, wanted, path)
    return {
        f"head.{key}" if key.startswith("decoder.") else key: value.float()
        for key, value in weights.items()
    }


def _rename(weights: dict[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """Give a file's tensors the names used here, without those that take no part."""
    fine_tuned = any(key.startswith(BACKBONE) for key in weights)
    renamed: dict[str, Tensor] = {}
    for key, value in weights.items():
        if any(re.fullmatch(pattern, key) for pattern in UNUSED):
            continue
        if fine_tuned and re.fullmatch(TWICE, key) and BACKBONE + key in weights:
            if not torch.equal(value, weights[BACKBONE + key]):
                raise UserError(f"{path}: {key} and {BACKBONE}{key} differ, but are one layer")
            continue
        name = _new_name(key, fine_tuned)
        if name in renamed:
            raise UserError(f"{path}: {key} and another of its keys are both {name}")
        renamed[name] = value
    return renamed


def _new_name(key: str, fine_tuned: bool) -> str:
    key = key.replace("patch_embed.proj.", "patch_embed.")
    if key.startswith("decoder_"):
        return key.replace("decoder_", "decoder.", 1)
    if not fine_tuned:
        return f"encoder.{key}"
    return key.replace(BACKBONE, "encoder.", 1)


def _size(weights: dict[str, Tensor], heads: int, decoder_heads: int, path: str | Path) -> Size:
    needed = (
        "encoder.cls_token",
        "decoder.embed.weight",
        "decoder.pos_embed",
        "decoder.map.weight",
    )
    missing = [key for key in needed if key not in weights]
    if missing:
        raise UserError(
            f"{path} is not a fine-tuned HiCFoundation checkpoint with a map head: "
            f"no {', '.join(missing)}"
        )
    decoder_dim, dim = weights["decoder.embed.weight"].shape
    for width, number in ((dim, heads), (decoder_dim, decoder_heads)):
        if width % number:
            raise UserError(
                f"{path}: {number} heads do not divide a width of {width}; set the heads"
            )
    return Size(
        dim=dim,
        depth=_depth(weights, "encoder"),
        heads=heads,
        decoder_dim=decoder_dim,
        decoder_depth=_depth(weights, "decoder"),
        decoder_heads=decoder_heads,
    )


def _depth(weights: dict[str, Tensor], part: str) -> int:
    blocks = (re.match(rf"{part}\.blocks\.(\d+)\.", key) for key in weights)
    return 1 + max((int(block[1]) for block in blocks if block), default=-1)


def _resize(weights: dict[str, Tensor], patches: int, path: str | Path) -> None:
    """Bring both position tables to a square grid of ``patches`` a side; row 0 is cls's."""
    for key, first in (("encoder.pos_embed", 1), ("decoder.pos_embed", 0)):
        if key not in weights:
            continue  # check says so, together with all else that is missing
        extra, positions = weights[key][0, :first], weights[key][0, first:]
        try:
            positions = resize_positions(positions, patches, patches)
        except ValueError as error:
            raise UserError(f"{path}: {key} cannot be fitted to this window: {error}") from error
        weights[key] = torch.cat([extra, positions])[None]
