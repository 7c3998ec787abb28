"""Save and restore a training run; nothing in a checkpoint is code.

weights.safetensors   the model, without a frozen encoder
optimizer.pt          AdamW's state, loaded with weights_only
trial.json            configuration, plan of the shard set, history of metrics, the digest of the
                      file that a frozen encoder's weights came from, the scale of the maps, and
                      the checksums of the two files above
"""

import hashlib
import json
import pickle
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hicray.config import ModelConfig, TrainConfig, TrialConfig, UserError
from hicray.io.copies import fingerprint, local
from hicray.io.storage import Location, locate, matching, open_file
from hicray.metrics.objective import rank
from hicray.model.decay import KNOTS
from hicray.model.trained import Trained, from_plain
from hicray.windows.bin_table import read_note

_ENCODER = "encoder."
WEIGHTS, OPTIMIZER, TRIAL = "weights.safetensors", "optimizer.pt", "trial.json"
_BLOCK = 1 << 24


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        trial: Configuration.
        plan: Of the shard set.
        history: Metrics of all finished epochs, oldest first.
        frozen: SHA-256 of the file that a frozen encoder's weights came from; else empty.
        trained: What prediction needs to know of the maps; None in checkpoints of old.
    """

    trial: TrialConfig
    plan: str
    history: list[dict[str, Any]]
    frozen: str = ""
    trained: Trained | None = None

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return len(self.history)


def save(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write a checkpoint into an empty folder.

    Args:
        folder: Empty.
        model: Whole, or the head that was trained on stored tokens.
        optimizer: Its state goes along.
        progress: Configuration, history and scale.
    """
    tensors = {name: tensor.contiguous() for name, tensor in learnt(model).items()}
    save_file(tensors, folder / WEIGHTS)
    torch.save(optimizer.state_dict(), folder / OPTIMIZER)
    sums = {name: _sha256(folder / name) for name in (WEIGHTS, OPTIMIZER)}
    (folder / TRIAL).write_text(json.dumps(asdict(progress) | {"sha256": sums}))


def damage(folder: Location) -> str:
    """Return what is wrong with a checkpoint's files; nothing if they are what was written."""
    try:
        fields = json.loads((folder / TRIAL).read_text())
    except (OSError, ValueError) as error:
        return f"{TRIAL} cannot be read ({type(error).__name__})"
    for name, expected in fields.get("sha256", {}).items():
        if not (folder / name).is_file():
            return f"{name} is gone"
        if _sha256(folder / name) != expected:
            return f"{name} is not what was written (another SHA-256)"
    return ""


def require_whole(folder: Location) -> None:
    """Refuse a damaged checkpoint.

    Raises:
        UserError: It is damaged.
    """
    if fault := damage(folder):
        raise UserError(
            f"{folder} is damaged: {fault}; give an earlier checkpoint beside it, or remove it and "
            "run the search again"
        )


def _sha256(path: Location) -> str:
    state = hashlib.sha256()
    with open_file(path) as file:
        while block := file.read(_BLOCK):
            state.update(block)
    return state.hexdigest()


# What checkpoints mean that were written before these could be chosen.
_BEFORE_MODEL = {"coarse_path": "off"}
_BEFORE_TRAIN = {"loss": "report", "hidden_dna": 0.0}


def read_progress(folder: Location) -> Progress:
    """Return what a checkpoint says of its run.

    Raises:
        UserError: The folder is no checkpoint.
    """
    if not (folder / TRIAL).is_file():
        raise UserError(f"{folder} holds no hicray checkpoint ({TRIAL} is missing)")
    return progress_from(json.loads((folder / TRIAL).read_text()), folder)


def _with_tuples(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as they were before JSON, which has no tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}


def progress_from(fields: dict[str, Any], where: Location | str) -> Progress:
    """Return what ``asdict`` and JSON made plain.

    Args:
        fields: Of a ``Progress``.
        where: Checkpoint that they come from, for the sentence.

    Raises:
        UserError: They are another version's.
    """
    trial, trained = fields["trial"], fields.get("trained")
    try:
        config = TrialConfig(
            coarse_bin_size=trial["coarse_bin_size"],
            model=ModelConfig(**_BEFORE_MODEL | _with_tuples(trial["model"])),
            train=TrainConfig(**_BEFORE_TRAIN | trial["train"]),
            refit_epochs=trial.get("refit_epochs", 0),
        )
        known = None if trained is None else from_plain(trained, where)
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{where} was written by another version of hicray ({error}); train anew in another "
            "--storage folder"
        ) from error
    return Progress(config, fields["plan"], fields["history"], fields.get("frozen", ""), known)


def learnt(model: nn.Module) -> dict[str, Tensor]:
    """Return what training changes, named as in a whole network: all but a frozen encoder."""
    encoder = getattr(model, "encoder", None)
    frozen = encoder is not None and not any(p.requires_grad for p in encoder.parameters())
    return {
        f"{_own(model)}{name}": tensor
        for name, tensor in model.state_dict().items()
        if not (frozen and name.startswith(_ENCODER))
    }


def _own(model: nn.Module) -> str:
    """Return where a network lies in the whole one: a head is trained alone on stored tokens."""
    return "" if hasattr(model, "encoder") else "head."


def load_weights(folder: Location, model: nn.Module) -> None:
    """Load a checkpoint's weights into a network of the same configuration, or into its head.

    Raises:
        UserError: It is damaged, or the frozen encoder's weights are no longer those it was
            trained with.
    """
    require_whole(folder)
    require_frozen(folder, read_progress(folder))
    own = _own(model)
    tensors = read_weights(local(folder / WEIGHTS))
    stored = {name.removeprefix(own): tensor for name, tensor in tensors.items()}
    if wrong := stored.keys() ^ {name.removeprefix(own) for name in learnt(model)}:
        raise UserError(f"{folder} does not fit its own configuration: {', '.join(sorted(wrong))}")
    model.load_state_dict(stored, strict=False)  # checked above, but for the frozen encoder


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a table of weights.

    Raises:
        UserError: The file is something else.
    """
    try:
        weights: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is not a readable checkpoint of tensors: {error}") from error
    # One that was written before levels were measured leaves maps as they come.
    weights.setdefault("head.decay.log_factors", torch.zeros(KNOTS))
    return weights


def require_frozen(folder: Location, progress: Progress) -> None:
    """Refuse a checkpoint whose frozen encoder's file is another one now.

    Raises:
        UserError: It is.
    """
    source = progress.trial.model.encoder_weights
    if progress.frozen and weights_digest(source) != progress.frozen:
        raise UserError(
            f"{folder} was trained with other encoder weights than {source} holds now; put back "
            f"the file whose SHA-256 is {progress.frozen}"
        )


def by_content(model: ModelConfig) -> ModelConfig:
    """Return a configuration that names its weights by their digest, not by where they lie.

    A trial is found again by its configuration; one that is trained from other weights under the
    same path is another trial.
    """
    if model.encoder_weights:
        model = replace(model, encoder_weights=weights_digest(model.encoder_weights))
    if model.dna_embeddings:
        made = read_note(locate(model.dna_embeddings))
        model = replace(model, dna_embeddings=made.digest)
    if model.tracks:
        named = (word.partition("=") for word in model.tracks)
        model = replace(model, tracks=tuple(f"{n}={fingerprint(file)}" for n, _, file in named))
    return model


def weights_digest(where: str | Location) -> str:
    """Return the SHA-256 of a file of published weights.

    Raises:
        UserError: There is no such file.
    """
    path = local(where)
    if not path.is_file():
        raise UserError(f"no checkpoint at {where}; give the path of a .pth.tar or .safetensors")
    return _digest(path, path.stat().st_mtime_ns)


@cache
def _digest(path: Path, _changed: int) -> str:
    return _sha256(path)


def load_optimizer(folder: Location, optimizer: torch.optim.Optimizer) -> None:
    """Load the optimizer's state.

    Raises:
        UserError: The file holds more than tensors and plain values, which is not opened.
    """
    try:
        state = torch.load(local(folder / OPTIMIZER), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{folder / OPTIMIZER} holds code, which hicray never runs; remove {folder} unless you "
            "know where it comes from"
        ) from error
    optimizer.load_state_dict(state)


def checkpoints(folder: Location) -> list[Location]:
    """Return a trial's checkpoints, oldest first, without half-written and damaged ones."""
    found = [path.parent for path in matching(folder, f"checkpoint_*/{TRIAL}")]
    return [path for path in found if not damage(path)]


def best_checkpoint(*folders: Location) -> Location | None:
    """Return the checkpoint of trials whose last epoch scored best, None where there is none."""
    found = [path for folder in folders for path in checkpoints(folder)]
    return max(found, key=lambda one: rank(read_progress(one).history[-1]), default=None)


def longest_history(folder: Location) -> list[dict[str, Any]]:
    """Return the metrics of a trial's finished epochs, oldest first."""
    histories = [read_progress(path).history for path in checkpoints(folder)]
    return max(histories, key=len, default=[])
