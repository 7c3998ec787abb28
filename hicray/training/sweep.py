"""Many small runs on one shard set, each on one core: for experiments that fix what they compare.

A search has trials, early stopping and MLflow; a run of minutes is shorter than what starts
those. The loop, the data and the checkpoints are the same.
"""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import ray
import torch
from torch import nn

from hicray.config import ModelConfig, TrialConfig, UserError
from hicray.io.progress import tqdm
from hicray.io.storage import locate
from hicray.maps.genome import read_packed
from hicray.metrics.objective import rank
from hicray.model import checkpoint
from hicray.model.trained import trained_on
from hicray.training.data import SEARCHED, Data
from hicray.training.plateau import finished
from hicray.training.trial import trial_name
from hicray.windows.genome_tables import read_tables
from hicray.windows.manifest import GENOME, Manifest, ShardSet
from hicray.windows.stream import open_windows
from hicray.windows.track_table import read_tracks

Key = TypeVar("Key")
Build = Callable[[TrialConfig, Manifest], nn.Module]
"""Makes the network of a configuration; its forward takes a batch's arguments by name."""


def require_seeds(seeds: int) -> None:
    """Refuse an experiment without a training.

    Raises:
        UserError: It asks for none.
    """
    if seeds < 1:
        raise UserError(f"--seeds {seeds} trains nothing; give 1 or more")


def own_network(trial: TrialConfig, manifest: Manifest) -> nn.Module:
    """Build hicray's network of a configuration."""
    # timm brings torchvision, which the driver need not wait for.
    from hicray.model.build import build

    return build(trial.model, **manifest.layout(trial.coarse_bin_size))


def open_data(
    shards: ShardSet,
    coarse_bin_size: int,
    *,
    reads_dna: bool = True,
    bins: ModelConfig | None = None,
) -> Data:
    """Open what the runs of one gap share.

    Args:
        shards: The shard set.
        coarse_bin_size: In bp.
        reads_dna: Whether any run needs the genome.
        bins: A network that names the stored embeddings and the tracks that any run reads.
    """
    train, val = (open_windows(shards, split, coarse_bin_size) for split in SEARCHED)
    genome = ray.put(read_packed(shards.folder / GENOME)) if reads_dna else None
    embeddings = tracks = None
    if bins is not None and bins.dna_embeddings:
        embeddings = ray.put(read_tables(locate(bins.dna_embeddings), shards.manifest))
    if bins is not None and bins.tracks:
        tracks = ray.put(read_tracks(bins, shards.manifest))
    return Data(shards.manifest, train, val, genome, embeddings=embeddings, tracks=tracks)


def sweep(
    trials: Mapping[Key, TrialConfig], data: Data, folder: Path, build: Build = own_network
) -> dict[Key, Path]:
    """Train every configuration; return its best epoch as a checkpoint, as a search keeps it.

    Args:
        trials: Configurations by any name; ones that finished before are not trained again.
        data: Windows and genome.
        folder: Where checkpoints go, each in a folder of its own.
        build: Makes the networks; those of another kind need another folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folders = {key: folder / trial_name(trial, data.manifest.plan) for key, trial in trials.items()}
    task = ray.remote(num_cpus=1)(train_alone)
    waiting = [
        task.remote(trial, data.read_by(trial.model), folders[key], build)
        for key, trial in trials.items()
        if not folders[key].exists()
    ]
    with tqdm(total=len(waiting), desc=f"train {folder.name}", unit="run") as bar:
        while waiting:
            ready, waiting = ray.wait(waiting)
            ray.get(ready)
            bar.update(len(ready))
    return folders


def train_alone(trial: TrialConfig, data: Data, folder: Path, build: Build = own_network) -> None:
    """Train one configuration on one core; write its best epoch's weights and all its history.

    Args:
        trial: The configuration.
        data: Windows and genome.
        folder: Where its checkpoint goes; written whole or not at all.
        build: Makes the network.
    """
    from hicray.training.optimizer import make_optimizer
    from hicray.training.train import Loop, Worker

    torch.set_num_threads(1)
    torch.manual_seed(trial.train.seed)
    manifest = data.manifest
    model = build(trial, manifest)
    loop = Loop(trial, data, Worker(0, 1, torch.device("cpu")), model, make_optimizer(model, trial))
    history: list[dict[str, Any]] = []
    best: dict[str, torch.Tensor] = {}
    while not finished(history, trial):
        history.append(loop.epoch(len(history)))
        # Of equal epochs max returns the first: a tie keeps the earlier weights.
        if history[-1] is max(history, key=rank):
            best = copy.deepcopy(model.state_dict())
    model.load_state_dict(best)
    # A folder of the final name is a finished run, which is not trained again.
    unfinished = folder.with_suffix(".unfinished")
    unfinished.mkdir(exist_ok=True)
    scale = trained_on(manifest, trial.coarse_bin_size)
    progress = checkpoint.Progress(trial, manifest.plan, history, trained=scale)
    checkpoint.save(unfinished, model, loop.optimizer, progress)
    unfinished.rename(folder)
