"""Files laid out as HiCFoundation's authors write them, of any preset, with random weights."""

from pathlib import Path

import torch

from hicray.model.encoder import PRESETS
from hicray.model.hicfoundation import HiCFoundation, write


def published_file(path: Path, *, window: int, preset: str = "tiny") -> Path:
    """Write a fine-tuned checkpoint of a preset's size for square windows."""
    torch.manual_seed(11)
    write(HiCFoundation(PRESETS[preset], patches=(window // 16) ** 2), path)
    return path
