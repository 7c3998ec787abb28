"""A data set, checked, cut into shards and held: what several verbs begin with."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hicray.cli.guard import say
from hicray.config import DataConfig, ModelConfig, Run
from hicray.io.storage import Location, locate, require_writable

if TYPE_CHECKING:
    from hicray.windows.manifest import ShardSet


def checked(model: ModelConfig, data: DataConfig) -> ModelConfig:
    """Check a network and how its windows are laid out; return it with full paths.

    Of a table of stored embeddings it then knows the width and the model.

    Workers have working folders of their own.

    Raises:
        UserError: Something cannot be, published weights do not fit, or there is no such table.
    """
    from hicray.maps.check import check_model
    from hicray.windows.genome_tables import resolved as embeddings_resolved
    from hicray.windows.plan import layout_of

    check_model(model)
    layout_of(data)
    model = embeddings_resolved(model)
    if model.encoder == "scratch":
        return model
    from hicray.model.build import check_weights

    check_weights(model, window_bins=data.window_bins)
    return replace(model, encoder_weights=str(locate(model.encoder_weights)))


def connect(run: Run, workers: int = 1) -> None:
    """Start or join Ray, with room for one trial of so many workers.

    Raises:
        UserError: No cluster answers at RAY_ADDRESS, or it lacks CPUs or GPUs.
    """
    from hicray.cluster import connection

    connection.connect(num_cpus=int(workers * run.cpus_per_worker) + 1)
    connection.require(workers, run.cpus_per_worker, run.use_gpu)


def prepare_shards(data: DataConfig, run: Run) -> "ShardSet":
    """Check the data set, cut it into shards, and return them."""
    from hicray.cluster import connection

    with resolved(data, run) as (data, storage):
        connection.connect()
        return shards_of(data, storage)


@contextlib.contextmanager
def resolved(data: DataConfig, run: Run) -> Iterator[tuple[DataConfig, Location]]:
    """Check the data set, simulating one where no map is given, and hold its storage."""
    from hicray.comparison.foreseen import check_data
    from hicray.io.lock import exclusive
    from hicray.simulation.simulated import simulated_data
    from hicray.windows.claim import plan_digest, refuse_other_plan
    from hicray.windows.enough import with_stride
    from hicray.windows.plan import layout_of

    layout_of(data)
    simulated = not data.contacts and not data.genome
    stem = Path(data.contacts[0]).name.split(".")[0] if data.contacts else "maps"
    storage = _storage(run, "simulated" if simulated else stem)
    # What a folder's data set is refused for leaves no folder behind; a probe leaves no bucket's.
    early = simulated or not isinstance(storage, Path)
    with contextlib.ExitStack() as held:
        if early:
            require_writable(storage)
        if simulated:
            held.enter_context(exclusive(storage))
            data = simulated_data(data, storage / "simulation")
        say(*check_data(data, simulated=simulated))
        data = data if simulated else with_stride(data)
        refuse_other_plan(storage / "shards", plan_digest(data))
        if not early:
            require_writable(storage)
        if not simulated:
            held.enter_context(exclusive(storage))
        yield data, storage


def _storage(run: Run, name: str) -> Location:
    root = locate(os.environ.get("HICRAY_STORAGE") or "runs")
    return locate(run.storage) if run.storage else root / name


def shards_of(data: DataConfig, storage: Location) -> "ShardSet":
    """Cut a data set that is resolved, say what came of it, and return its shard set."""
    from hicray.cluster import connection
    from hicray.maps.bins import SPLIT_NAMES
    from hicray.windows.manifest import ShardSet
    from hicray.windows.shards import prepare as run

    connection.require_shared(storage)
    folder = storage / "shards"
    manifest = run(data, folder)
    counts = ", ".join(f"{manifest.num_windows(name)} {name}" for name in SPLIT_NAMES)
    dropped = sum(manifest.dropped.values())
    say(f"{folder}: {counts} windows ({dropped} left out as too little usable)")
    return ShardSet(folder, manifest)
