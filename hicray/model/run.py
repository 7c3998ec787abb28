"""One way to run a network that has been trained: validation, comparison and enhancing share it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def in_bf16(device: torch.device | str) -> bool:
    """Return whether networks run in bf16 on a device: on GPUs that compute in it natively."""
    # An older GPU says yes as well, and emulates it more slowly than fp32 runs.
    on_gpu = torch.device(device).type == "cuda"
    return on_gpu and bool(torch.cuda.is_bf16_supported(including_emulation=False))


def autocast(device: torch.device | str) -> AbstractContextManager[Any]:
    """Return the precision in which networks run on a device, in training too."""
    kind = torch.device(device).type
    context: AbstractContextManager[Any] = torch.autocast(
        kind, torch.bfloat16, enabled=in_bf16(device)
    )
    return context


@torch.inference_mode()
def predict(
    module: Callable[..., Tensor], inputs: Mapping[str, Tensor]
) -> Float[Tensor, "batch rows cols"]:
    """Return a network's maps in network units.

    Args:
        module: In eval mode; a whole network, or a head with the tokens among its inputs.
        inputs: Its arguments, on its device.
    """
    with autocast(next(iter(inputs.values())).device):
        values: Tensor = module(**inputs)
    return values.float()
