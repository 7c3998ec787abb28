"""Files laid out as HiCFoundation's authors write them, of any size, with random weights."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from hicray.model.encoder import PRESETS
from hicray.model.hicfoundation import HiCFoundation


def published_file(path: Path, *, window: int, preset: str = "tiny") -> Path:
    """Write a fine-tuned checkpoint of a preset's size for square windows."""
    torch.manual_seed(11)
    network = HiCFoundation(PRESETS[preset], patches=(window // 16) ** 2)
    save_file({_upstream(k): v.contiguous() for k, v in network.state_dict().items()}, path)
    return path


def tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read such a file."""
    return load_file(path)


def _upstream(key: str) -> str:
    key = key.replace("patch_embed.", "patch_embed.proj.")
    if key.startswith("encoder."):
        return key.replace("encoder.", "vit_backbone.", 1)
    return key.replace("decoder.", "decoder_", 1)
