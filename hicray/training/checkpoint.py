"""Save and restore a training run; nothing in a checkpoint is code.

weights.safetensors   the model
optimizer.pt          AdamW's state, loaded with weights_only
trial.json            configuration, plan of the shard set, history of metrics
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from hicray.config import ModelConfig, TrainConfig, TrialConfig, UserError

WEIGHTS, OPTIMIZER, TRIAL = "weights.safetensors", "optimizer.pt", "trial.json"


@dataclass(frozen=True)
class Progress:
    """Where a run stands: metrics of all finished epochs, oldest first."""

    trial: TrialConfig
    plan: str
    history: list[dict[str, Any]]

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return len(self.history)


def save(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write a checkpoint into an empty folder."""
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)
    torch.save(optimizer.state_dict(), folder / OPTIMIZER)
    (folder / TRIAL).write_text(json.dumps(asdict(progress)))


def read_progress(folder: Path) -> Progress:
    """Return what a checkpoint says of its run.

    Raises:
        UserError: The folder is no checkpoint.
    """
    if not (folder / TRIAL).is_file():
        raise UserError(f"{folder} holds no hicray checkpoint ({TRIAL} is missing)")
    fields = json.loads((folder / TRIAL).read_text())
    trial = fields["trial"]
    config = TrialConfig(
        coarse_bin_size=trial["coarse_bin_size"],
        model=ModelConfig(**trial["model"]),
        train=TrainConfig(**trial["train"]),
    )
    return Progress(config, fields["plan"], fields["history"])


def load_weights(folder: Path, model: nn.Module) -> None:
    """Load a checkpoint's weights into a model of the same configuration."""
    model.load_state_dict(load_file(folder / WEIGHTS))


def load_optimizer(folder: Path, optimizer: torch.optim.Optimizer) -> None:
    """Load the optimizer's state."""
    state = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
    optimizer.load_state_dict(state)
