"""Published files for the networks of this room: every key of a file is accounted for.

Messages name tensors as the file does, because that is what their reader can look up.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from hicray.config import UserError
from hicray.model.weights import check, read

TRANSFORMER = {
    r"\.attention_norm\.": ".0.fn.0.",
    r"\.attention\.query\.": ".0.fn.1.to_q.",
    r"\.attention\.key\.": ".0.fn.1.to_k.",
    r"\.attention\.value\.": ".0.fn.1.to_v.",
    r"\.attention\.lag_key\.": ".0.fn.1.to_rel_k.",
    r"\.attention\.key_bias$": ".0.fn.1.rel_content_bias",
    r"\.attention\.lag_bias$": ".0.fn.1.rel_pos_bias",
    r"\.attention\.out\.": ".0.fn.1.to_out.",
    r"\.hidden\.0\.": ".1.fn.0.",
    r"\.hidden\.1\.": ".1.fn.1.",
    r"\.hidden\.3\.": ".1.fn.4.",  # dropout took a number, too
}
"""Parts of the names in a ``TransformerBlock``, and what files have in their place."""


@dataclass(frozen=True, kw_only=True)
class Naming:
    """How a network's published files name its tensors.

    Attributes:
        names: Patterns in the names that are used here, and what files have in their place.
        unused: Patterns of whole keys of a file that are left out, and why.
        second: Beginnings of second names of tensors, and those of the first ones.
    """

    names: Mapping[str, str]
    unused: Mapping[str, str]
    second: Mapping[str, str] = field(default_factory=dict)

    def published(self, own: str) -> str:
        """Return the name in files of a tensor that is named here."""
        for pattern, there in self.names.items():
            own = re.sub(pattern, there, own)
        return own

    def first(self, key: str) -> str:
        """Return the first name of a tensor, whichever of its names a file has."""
        for second, first in self.second.items():
            if key.startswith(second):
                return first + key.removeprefix(second)
        return key

    def takes_part(self, key: str) -> bool:
        """Tell whether a key of a file is one that the network needs, or has to refuse."""
        return not any(re.fullmatch(pattern, key) for pattern in self.unused)


def fill(network: nn.Module, path: str | Path, naming: Naming) -> None:
    """Give a network the weights of a published file, as single floats, and freeze it.

    Args:
        network: May be without values, on the meta device.
        path: A .bin, .pt, .pth or .safetensors file of tensors.
        naming: How such files name what the network holds.

    Raises:
        UserError: The file cannot be read, or is not exactly one of this network.
    """
    held = _once(read(path), naming, path)
    wanted = network.state_dict()
    own = {naming.published(key): key for key in wanted}
    check(held, {name: wanted[key] for name, key in own.items()}, path)
    weights = {own[name]: value.float() for name, value in held.items()}
    network.load_state_dict(weights, assign=True)
    network.eval().requires_grad_(False)


def _once(weights: dict[str, Tensor], naming: Naming, path: str | Path) -> dict[str, Tensor]:
    """Return the tensors that take part, each under its first name."""
    held: dict[str, Tensor] = {}
    for key, value in weights.items():
        if not naming.takes_part(key):
            continue
        name = naming.first(key)
        if not torch.equal(value, held.get(name, value)):
            raise UserError(f"{path} holds {name} under two names, and the two differ")
        held[name] = value
    return held
