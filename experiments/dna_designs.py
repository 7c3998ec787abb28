"""Which DNA design carries the signal? Depth of the tower, the report's pooled CNN, the fusions.

Trains every design at the wider gap of the simulated map, with the same budget and seeds, and
scores it on the validation chromosomes after the last epoch; test chromosomes are not touched.

Command (an hour on 2 cores; a killed run goes on where it stopped):

    python experiments/dna_designs.py

Expected: no gain over noseq where DNA joins as tokens alone, whether pooled or one per bin;
about +0.19 O/E Pearson for the tower with pairwise features, at any depth.
"""

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import ray
import torch
import tyro
from tqdm import tqdm

from hicray.cli import SIMULATED, guarded
from hicray.config import ModelConfig, TrialConfig, digest
from hicray.jobs import Run, prepare_shards, say
from hicray.maps.genome import read_packed
from hicray.training.data import Data
from hicray.training.metrics import OBJECTIVE
from hicray.windows.manifest import GENOME, write_json
from hicray.windows.stream import open_windows

NOSEQ = "noseq"
DESIGNS: dict[str, ModelConfig] = {
    NOSEQ: ModelConfig(sequence="off"),
    "pooled, tokens (the report's)": ModelConfig(dna="pooled", fusion="tokens"),
    **{f"tower depth {depth}, both": ModelConfig(depth=depth) for depth in range(1, 7)},
    "tower depth 3, tokens": ModelConfig(fusion="tokens"),
    "tower depth 3, pairwise": ModelConfig(fusion="pairwise"),
}


@dataclass(frozen=True)
class Options:
    """What is compared, and at what cost."""

    storage: str = "runs/dna_designs"
    """Folder of shards and results."""
    seeds: int = 3
    """Training seeds of each design."""
    epochs: int = 6
    """Epochs of each run."""


def train_design(trial: TrialConfig, data: Data) -> dict[str, Any]:
    """Train one design on one core; return its scores, cost and size."""
    from hicray.model.build import build
    from hicray.training.optimizer import make_optimizer
    from hicray.training.train import Loop, Place

    torch.set_num_threads(1)
    torch.manual_seed(trial.train.seed)
    manifest = data.manifest
    model = build(trial.model, window_bins=manifest.window_bins, bin_size=manifest.fine_bin_size)
    place = Place(0, 1, torch.device("cpu"))
    loop = Loop(trial, data, place, model, make_optimizer(model, trial))
    history = [loop.epoch(epoch) for epoch in range(trial.train.epochs)]
    own = [(name, p.numel()) for name, p in model.named_parameters()]
    dna = ("head.dna", "head.pairs")
    return {
        "score": history[-1][f"val_{OBJECTIVE}"],
        "mse": history[-1]["val_mse"],
        "curve": [epoch[f"val_{OBJECTIVE}"] for epoch in history],
        "seconds": sum(epoch["seconds"] for epoch in history),
        "parameters": sum(size for _, size in own),
        "dna_parameters": sum(size for name, size in own if name.startswith(dna)),
        "val_windows": history[-1]["val_windows"],
    }


def compare_designs(options: Options) -> None:
    """Train every design with every seed, and print their table."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    folder, manifest = prepare_shards(SIMULATED.data, Run(storage=options.storage))
    wide = max(manifest.coarse_bin_sizes)
    train, val = (open_windows(folder, manifest, split, wide) for split in ("train", "val"))
    data = Data(manifest, train, val, ray.put(read_packed(folder / GENOME)))
    notes = Path(options.storage) / "designs"
    notes.mkdir(exist_ok=True)
    task = ray.remote(num_cpus=1)(train_design)
    waiting = {}
    for seed in range(options.seeds):
        for name, model in DESIGNS.items():
            trial = TrialConfig(
                coarse_bin_size=wide,
                model=model,
                train=replace(SIMULATED.train, epochs=options.epochs, seed=seed),
            )
            note = notes / f"{digest([digest(trial), manifest.plan])}.json"
            reads = replace(data, genome=data.genome if model.sequence == "on" else None)
            waiting[name, seed] = note, trial, reads
    todo = {task.remote(trial, reads): note for note, trial, reads in _missing(waiting.values())}
    with tqdm(total=len(todo), desc="designs", unit="run") as bar:
        while todo:
            ready, _ = ray.wait(list(todo))
            write_json(todo.pop(ready[0]), ray.get(ready[0]))
            bar.update(1)
    results = {key: json.loads(note.read_text()) for key, (note, _, _) in waiting.items()}
    say("", table(results, options.seeds, data.train.rows))


def _missing(waiting: Any) -> list[tuple[Path, TrialConfig, Data]]:
    return [item for item in waiting if not item[0].exists()]


def table(results: dict[tuple[str, int], dict[str, Any]], seeds: int, windows: int) -> str:
    """Return the designs as a Markdown table; gains are paired by seed."""
    lines = [
        "| design | parameters | of them DNA's | ms per training window | MSE | O/E Pearson "
        "| gain over noseq |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in DESIGNS:
        runs = [results[name, seed] for seed in range(seeds)]
        gains = [run["score"] - results[NOSEQ, seed]["score"] for seed, run in enumerate(runs)]
        cost = mean(run["seconds"] / len(run["curve"]) / windows * 1e3 for run in runs)
        cells = [
            name,
            f"{runs[0]['parameters']:,}",
            f"{runs[0]['dna_parameters']:,}",
            f"{cost:.1f}",
            _spread([run["mse"] for run in runs], 6),
            _spread([run["score"] for run in runs], 4),
            _spread(gains, 4, sign="+"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    shown = results[NOSEQ, 0]["val_windows"]
    lines.append(f"\nn = {shown:g} validation windows, {seeds} seeds: mean ± sd over seeds")
    return "\n".join(lines)


def _spread(values: list[float], digits: int, sign: str = "") -> str:
    deviation = stdev(values) if len(values) > 1 else float("nan")
    return f"{mean(values):{sign}.{digits}f} ± {deviation:.{digits}f}"


if __name__ == "__main__":
    guarded(lambda: compare_designs(tyro.cli(Options)))
