"""Models of DNA by name: two published ones, a TorchScript file, or a function of one's own."""

import hashlib
import importlib
import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hicray.config import UserError
from hicray.dna_models import own_tower
from hicray.dna_models.contract import DnaModel, Sizes, sizes_of
from hicray.dna_models.cost import operations
from hicray.io.copies import local
from hicray.maps.genome import N
from hicray.model.checkpoint import weights_digest

PUBLISHED = {"enformer": "Enformer", "borzoi": "Borzoi"}
"""Published models, each of a module of its name: their class."""
TOWER, TORCHSCRIPT = "tower", "torchscript"
_SIZES = ("window", "stride", "positions", "channels")
_NAMES = f"{', '.join(PUBLISHED)}, {TOWER}, {TORCHSCRIPT} or MODULE:FUNCTION"


def require_model(name: str, weights: str) -> None:
    """Refuse a name that stands for no model, and weights that are not there.

    Raises:
        UserError: It is one of these.
    """
    if not takes_file(name) and not all(name.partition(":")):
        raise UserError(f"--model {name} is no model of DNA; give {_NAMES}")
    if not takes_file(name):
        return
    if not weights:
        raise UserError(f"--model {name} needs weights; give their file by --weights")
    if name != TOWER and not local(weights).is_file():
        raise UserError(f"--weights {weights} does not exist; give the file of the model's weights")


def takes_file(name: str) -> bool:
    """Tell whether weights are a file, or a checkpoint; a function may take a hub's name."""
    return name in (*PUBLISHED, TOWER, TORCHSCRIPT)


def open_model(name: str, weights: str, device: torch.device | str = "cpu") -> DnaModel:
    """Open a model of DNA, checked against the contract.

    Args:
        name: enformer, borzoi, torchscript, or MODULE:FUNCTION, which is called with ``weights``.
        weights: File of weights, or of the TorchScript module; may be empty for a function.
        device: Where it runs.

    Raises:
        UserError: There is no such model, its file does not fit, or it breaks the contract.
    """
    require_model(name, weights)
    model = _open(name, weights)
    if isinstance(model, nn.Module):
        model = model.eval().to(device)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
    _check(model, name, device)
    opened: DnaModel = model
    return opened


def sizes(name: str, weights: str) -> tuple[Sizes, float]:
    """Return a model's sizes and a window's operations, in tera: 0 where they are not counted.

    A published one needs no file for that, and its operations are counted.

    Raises:
        UserError: As ``open_model``.
    """
    if name not in PUBLISHED:
        return sizes_of(open_model(name, weights)), 0.0
    with torch.device("meta"):
        network: Any = getattr(_published(name), PUBLISHED[name])()
    # What is computed rather than loaded has values even so.
    model: DnaModel = network.to("meta")
    return sizes_of(model), operations(model)


def identity(name: str, weights: str) -> dict[str, Any]:
    """Return what tells one model's embeddings from another's, by content."""
    code = ""
    if not takes_file(name):
        origin = _spec(name).origin
        code = hashlib.sha256(Path(origin).read_bytes()).hexdigest() if origin else ""
    if name == TOWER:
        return {"model": name, "weights": weights_digest(own_tower.weights_of(weights)), "code": ""}
    by_content = takes_file(name) or (weights and local(weights).is_file())
    known = weights_digest(weights) if by_content else weights
    return {"model": name, "weights": known, "code": code}


def _open(name: str, weights: str) -> Any:
    if name in PUBLISHED:
        return _published(name).load(weights)
    if name == TOWER:
        return own_tower.load(weights)
    if name == TORCHSCRIPT:
        try:
            # No pickle, but a program even so: its operations may write files.
            return torch.jit.load(str(local(weights)), map_location="cpu")  # type: ignore[no-untyped-call]  # torch
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"{weights} is no TorchScript module ({str(error).splitlines()[0]}); write one by "
                "torch.jit.script(model).save(file)"
            ) from error
    module, _, function = name.partition(":")
    _spec(name)
    make = getattr(importlib.import_module(module), function, None)
    if make is None:
        raise UserError(f"--model {name}: {module} has no {function}")
    return make(weights)


def _published(name: str) -> Any:
    # Named apart, so that neither is imported before it is asked for.
    return importlib.import_module(f"hicray.dna_models.{name}")


def _spec(name: str) -> Any:
    module = name.partition(":")[0]
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        raise UserError(
            f"--model {name}: there is no module {module}; install it, or add its folder to "
            "PYTHONPATH, on every node"
        )
    return spec


@torch.inference_mode()
def _check(model: Any, name: str, device: torch.device | str) -> None:
    """Try a model on a window of unknown bases.

    Raises:
        UserError: It lacks an attribute, or gives something of another shape.
    """
    sizes: dict[str, Any] = {size: getattr(model, size, None) for size in _SIZES}
    wrong = [part for part, size in sizes.items() if not isinstance(size, int) or size < 1]
    if wrong:
        raise UserError(
            f"--model {name} has no whole number of {', '.join(wrong)}; a model of DNA has window, "
            "stride, positions and channels as attributes"
        )
    if name in PUBLISHED:
        return  # a window of theirs takes a minute on a CPU
    beyond = sizes["window"] - sizes["positions"] * sizes["stride"]
    if beyond < 0 or beyond % 2:
        raise UserError(
            f"--model {name}: {sizes['positions']} positions of {sizes['stride']} bases do not lie "
            f"in the middle of a window of {sizes['window']}"
        )
    given = model(torch.full((1, sizes["window"]), N, dtype=torch.uint8, device=device))
    expected = (1, sizes["positions"], sizes["channels"])
    if tuple(given.shape) != expected:
        raise UserError(
            f"--model {name} gives {tuple(given.shape)} for a window, not {expected}: batch, "
            "positions, channels"
        )
