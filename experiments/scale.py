"""How far it goes: what one more node or trial costs, measured with nodes made here.

    python experiments/scale.py stream    # weak scaling of the input path over 1 to 4 Ray nodes
    python experiments/scale.py trials    # what starting and ending a trial adds to its epochs
    python experiments/scale.py rates     # prepare, sizes on disk, records to MLflow

A step is a pause of fixed time, and a GPU a number that Ray is told: nodes share one machine, so
steps are chosen long enough for its cores not to be what saturates. All else is hicray's own.

Expected: weak scaling 0.99 from memory and 0.85 from disk, at four nodes on two cores; some 12 s a
trial; tiny 4 MB, large head 311 MB, large whole 3,951 MB; some 40 epochs a second into SQLite.
"""

import functools
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.train.torch
import torch
import tyro
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hicray.cli.guard import say
from hicray.cli.search import search_cells
from hicray.cluster import connection
from hicray.config import DataConfig, ModelConfig, Run, TrainConfig, Tune
from hicray.io.ahead import ahead
from hicray.model.enhancer import Enhancer
from hicray.simulation.simulate import SimulationConfig, default_split, simulate
from hicray.tracking import track
from hicray.training import trial, tune
from hicray.windows.collate import Collate
from hicray.windows.manifest import Manifest, ShardSet
from hicray.windows.reading import columns, shard_at
from hicray.windows.shards import prepare
from hicray.windows.stream import Files, Reader, Slice, WindowSource, open_windows

COARSE, BATCH = 512, 4


@contextmanager
def nodes(count: int, cpus: int, gpus: int = 0) -> Iterator[list[str]]:
    """Start a head without CPUs and some nodes; join them, and give the nodes' ids."""
    os.environ |= {"RAY_AUTH_MODE": "disabled", **connection.SETTINGS}
    with tempfile.TemporaryDirectory(prefix="hr-", dir="/tmp", ignore_cleanup_errors=True) as own:
        head = {"num_cpus": 0, "resources": {connection.DRIVER: 100}, "temp_dir": own}
        here = Cluster(initialize_head=True, head_node_args=head | {"include_dashboard": False})
        try:
            added = [here.add_node(num_cpus=cpus, num_gpus=gpus) for _ in range(count)]
            os.environ["RAY_ADDRESS"] = str(here.address)
            connection.connect()
            yield [node.node_id for node in added]
        finally:
            ray.shutdown()
            here.shutdown()


def data(folder: Path, chroms: int, window: int) -> DataConfig:
    """Simulate a genome and its map, or take them as they are there."""
    config = SimulationConfig(num_chromosomes=chroms)
    made = simulate(folder, config)
    return DataConfig(
        contacts=tuple(map(str, made.contacts)),
        genome=str(made.genome),
        fine_bin_size=config.bin_size,
        coarse_bin_sizes=(COARSE,),
        window_bins=window,
        train_stride_bins=16,
        split=default_split(config),
    )


class Consumer:
    """A worker that reads and decodes its share, and pauses where it would train."""

    def ready(self) -> None:
        """Return when the process has imported what it needs."""

    def epoch(
        self, windows: WindowSource, manifest: Manifest, part: Slice, step: float
    ) -> list[float]:
        """Read a slice of an epoch; return seconds to the first batch, and of all after it."""
        collate = Collate(manifest, COARSE)
        began = first = time.monotonic()
        tables = Reader(windows, BATCH).shuffled(part, seed=0, epoch=0)
        for i, compact in enumerate(ahead(map(collate.compact, tables))):
            collate.decode(compact)
            if i == 0:
                first = time.monotonic()
            time.sleep(step)
        return [first - began, time.monotonic() - first]


def stream(*, most: int = 4, batches: int = 22, step: float = 0.4) -> None:
    """Give each of 1, 2, ... nodes as many windows of its own; all should take as long as one.

    Args:
        most: Nodes at most.
        batches: Of 4 windows for each node.
        step: Seconds that a batch would train.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "shards"
        manifest = _prepared(data(Path(name) / "simulation", 24, 224), folder)
        say("| windows | nodes | step, s | first batch, s | windows/s and node | efficiency |")
        say("| --- | --- | --- | --- | --- | --- |")
        alone: dict[str, float] = {}
        for count in range(1, most + 1):
            with nodes(count, cpus=3) as ids:
                for kind, windows in _both(folder, manifest).items():
                    for pause in (0.0, step) if count == 1 else (step,):
                        first, rest = _epoch(ids, windows, manifest, batches, pause)
                        rate = (batches - 1) * BATCH / rest
                        alone.setdefault(f"{kind} {pause}", rate)
                        share = rate / alone[f"{kind} {pause}"]
                        say(
                            f"| {kind} | {count} | {pause:g} | {first:.2f} | {rate:.1f} | "
                            f"{share:.3f} |"
                        )


def _prepared(own: DataConfig, folder: Path) -> Manifest:
    with nodes(1, cpus=3):
        began = time.monotonic()
        manifest = prepare(own, folder)
        seconds = time.monotonic() - began
    rows = sum(shard.rows for shard in manifest.shards)
    size = sum((folder / shard.file).stat().st_size for shard in manifest.shards)
    say(
        f"prepare: {rows} windows of {manifest.window_bins} bins in {seconds:.1f} s, "
        f"{rows / seconds:.0f} windows/s; {size / rows / 1024:.1f} KiB each, "
        f"{len(manifest.shards)} shards"
    )
    return manifest


def _both(folder: Path, manifest: Manifest) -> dict[str, WindowSource]:
    """Return the training set as it is read when it fits the object store, and when not."""
    shards = [shard_at(folder, shard, None) for shard in manifest.files("train")]
    return {
        "in memory": open_windows(ShardSet(folder, manifest), "train", COARSE),
        "on disk": Files(shards, columns(COARSE)),
    }


def _epoch(
    ids: list[str], windows: WindowSource, manifest: Manifest, batches: int, pause: float
) -> tuple[float, float]:
    """Read one epoch on all nodes at once; return the slowest one's times."""
    share = batches * BATCH
    if windows.rows < share * len(ids):
        raise SystemExit(f"{windows.rows} windows are too few for {len(ids)} x {share}")
    worker = ray.remote(num_cpus=1)(Consumer)
    there = [NodeAffinitySchedulingStrategy(one, soft=False) for one in ids]
    consumers = [worker.options(scheduling_strategy=one).remote() for one in there]
    ray.get([one.ready.remote() for one in consumers])
    parts = [Slice(i * share, (i + 1) * share) for i in range(len(ids))]
    took = ray.get(
        [
            one.epoch.remote(windows, manifest, part, pause)
            for one, part in zip(consumers, parts, strict=True)
        ]
    )
    first, rest = zip(*took, strict=True)
    return max(first), max(rest)


def trials(*, slots: int = 1, count: int = 3, epochs: int = 4, pause: float = 2.0) -> None:
    """Run a search whose epochs are pauses; what it takes beyond them is what trials cost.

    Args:
        slots: Nodes of one pretended GPU: trials that run at once.
        count: Trials.
        epochs: Of a trial.
        pause: Seconds of an epoch.
    """
    os.environ["HICRAY_PAUSE"] = str(pause)  # nodes, and with them workers, inherit it
    with tempfile.TemporaryDirectory() as name:
        own = data(Path(name) / "simulation", 6, 64)
        with nodes(slots, cpus=2, gpus=1):
            prepare(own, Path(name) / "storage" / "shards")
            options = Tune(
                data=own,
                model=ModelConfig(preset="tiny"),
                train=TrainConfig(epochs=epochs),
                run=Run(storage=f"{name}/storage", use_gpu=True),
                trials=count,
            )
            tune.drive_trial = drive_paused  # type: ignore[attr-defined]
            began = time.monotonic()
            search_cells(options, ("off",))
            wall = time.monotonic() - began
    each = wall * slots / count
    say(
        f"{count} trials of {epochs} x {pause:g} s, {slots} at once: {wall:.0f} s; "
        f"{each - epochs * pause:.1f} s a trial and slot beyond its epochs"
    )


def drive_paused(*given: Any, **named: Any) -> None:
    """Drive a trial whose GPU is a number: gloo in place of NCCL, pauses in place of epochs."""
    whole = ray.train.torch.TorchTrainer
    gloo = ray.train.torch.TorchConfig(backend="gloo")
    ray.train.torch.TorchTrainer = functools.partial(whole, torch_config=gloo)
    trial.worker_loop = train_paused
    trial.drive_trial(*given, **named)


def train_paused(config: dict[str, Any]) -> None:
    """Train as ever, but for the GPU and the epochs; checkpoints are written and reported."""
    from hicray.training import train

    ray.train.torch.get_device = lambda: torch.device("cpu")
    ray.train.torch.prepare_model = lambda model: model
    train.Loop.epoch = paused  # type: ignore[method-assign, assignment]
    train.train_worker(config)


def paused(_: Any, epoch: int) -> dict[str, Any]:
    """Return what an epoch would."""
    seconds = float(os.environ["HICRAY_PAUSE"])
    time.sleep(seconds)
    names = ("train_loss", "val_loss", "val_oe_pearson")
    return {"epoch": epoch + 1, "seconds": seconds} | dict.fromkeys(names, 0.5 + epoch / 1000)


def rates(*, records: int = 200) -> None:
    """Print how large checkpoints are, and how many epochs a second MLflow's SQLite takes.

    Args:
        records: Epochs sent.
    """
    for preset in ("tiny", "large"):
        with torch.device("meta"):
            whole = Enhancer(ModelConfig(preset=preset), window_bins=224, bin_size=4_000, factor=2)
        total = sum(one.numel() for one in whole.parameters())
        head = total - sum(one.numel() for one in whole.encoder.parameters())
        # A weight and AdamW's two moments, in fp32.
        say(
            f"{preset}: {total / 1e6:.1f} million parameters, checkpoint {12 * total / 1e6:.0f} "
            f"MB; head alone {head / 1e6:.1f} million, {12 * head / 1e6:.0f} MB"
        )
    with tempfile.TemporaryDirectory() as name:
        store = track.Store(f"sqlite:///{name}/mlflow.db", Path(name) / "artifacts")
        run = store.find_or_start(track.TRIAL, "one", {}, {})
        metrics = {f"val_{i}": i / 7 for i in range(30)}
        began = time.monotonic()
        for epoch in range(records):
            store.log(run, metrics, epoch)
        rate = records / (time.monotonic() - began)
        say(f"MLflow, SQLite: {rate:.0f} epochs of 30 metrics a second")


def main() -> None:
    """Run one of the three."""
    tyro.extras.subcommand_cli_from_dict({"stream": stream, "trials": trials, "rates": rates})


if __name__ == "__main__":
    main()
