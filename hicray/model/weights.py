"""Files of published weights: read without running their code, and fitted key by key."""

import argparse
import pickle
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hicray.config import UserError
from hicray.io.copies import local


def read(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint, running none of the code that a pickle may hold.

    Raises:
        UserError: The file is missing, unreadable, or holds something else.
    """
    path = local(path)
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}; give a .pth.tar, .bin or .safetensors file")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _read_pickle(path)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path} is not a readable checkpoint of tensors: {reason}") from error
    for name in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise UserError(f"{path} holds no table of tensors, which a checkpoint is")
    return dict(content)


def _read_pickle(path: Path) -> object:
    # Mapped, so that what is left out (the optimizer's state above all) is never read; files from
    # before torch 1.6 are no zip archives and cannot be.
    mapped = zipfile.is_zipfile(path)
    # HiCFoundation keeps its command line, a plain Namespace, along with the weights.
    with torch.serialization.safe_globals([argparse.Namespace]):
        content: object = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    return content


def check(weights: dict[str, Tensor], wanted: dict[str, Tensor], path: str | Path) -> None:
    """Refuse a file unless its keys and shapes are exactly the wanted ones.

    Args:
        weights: What the file holds.
        wanted: What the network holds, under the same names.
        path: Names the file in the refusal.

    Raises:
        UserError: A key is unknown, missing or of another shape; all of them are listed.
    """
    unknown = sorted(weights.keys() - wanted.keys())
    missing = sorted(wanted.keys() - weights.keys())
    misfits = [
        f"{key} {tuple(weights[key].shape)}, not {tuple(wanted[key].shape)}"
        for key in sorted(weights.keys() & wanted.keys())
        if weights[key].shape != wanted[key].shape
    ]
    faults = (("unknown", unknown), ("missing", missing), ("of another shape", misfits))
    found = [f"{name}: {', '.join(keys)}" for name, keys in faults if keys]
    if found:
        raise UserError(f"{path} does not fit this network; {'; '.join(found)}")
