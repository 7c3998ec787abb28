"""The optimizer and its learning rate: HiCFoundation's rule, schedule and layer decay."""

import math
import re

import torch
from torch import nn

from hicray.config import TrainConfig, TrialConfig
from hicray.training.averaged import AveragedAdamW

_BLOCK = re.compile(r"encoder\.blocks\.(\d+)\.")


def make_optimizer(model: nn.Module, trial: TrialConfig) -> AveragedAdamW:
    """Return AdamW with its mean; a tuned encoder's early layers learn more slowly (layer decay).

    Vectors (biases, norms), the cls token and positions are not decayed. Each group carries the
    ``scale`` of its learning rate.
    """
    config, tuned = trial.train, trial.model.encoder == "tuned"
    depth = len({name.split(".")[2] for name, _ in model.named_parameters() if _BLOCK.match(name)})
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        spared = parameter.ndim <= 1 or name.endswith(("cls_token", "pos_embed"))
        scale = layer_scale(name, depth, config.layer_decay) if tuned else 1.0
        groups.setdefault((scale, 0.0 if spared else config.weight_decay), []).append(parameter)
    return AveragedAdamW(
        [
            {"params": group, "weight_decay": decay, "scale": scale}
            for (scale, decay), group in groups.items()
        ],
        lr=config.peak_learning_rate,
        betas=(0.9, 0.95),
        fused=True,
    )


def layer_scale(name: str, depth: int, decay: float) -> float:
    """Return the factor of a parameter's learning rate: ``decay`` to the number of layers above.

    The last encoder block has one above it (the head), patches and positions have all.

    Args:
        name: Of the parameter, in the whole network.
        depth: Blocks of the encoder.
        decay: Factor from one block to the one before.
    """
    if block := _BLOCK.match(name):
        return decay ** (depth - int(block[1]))
    below = name.startswith(("encoder.patch_embed", "encoder.cls_token", "encoder.pos_embed"))
    return decay ** (depth + 1) if below else 1.0


def learning_rate(peak: float, warmup: float, step: int, steps: int) -> float:
    """Return the rate of a step: linear warm-up, then half a cosine to 0.

    Args:
        peak: Highest rate, reached at the end of the warm-up.
        warmup: Share of all steps that warm up.
        step: From 0.
        steps: Of the whole run.
    """
    rising = max(1, round(warmup * steps))
    if step < rising:
        return peak * (step + 1) / rising
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def move_to(optimizer: torch.optim.Optimizer, config: TrainConfig, step: int, steps: int) -> float:
    """Set every group's rate for a step of the whole run; return the rate of scale 1.

    Args:
        optimizer: Whose groups have a ``scale`` each.
        config: Peak rate and warm-up.
        step: From 0.
        steps: Of the whole run.
    """
    rate = learning_rate(config.peak_learning_rate, config.warmup, step, steps)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
    return rate
