"""Which DNA design carries the signal? Depth of the tower, the report's pooled CNN, the fusions.

Trains every design at the wider gap of the simulated map, with the same budget and seeds, and
scores it on the validation chromosomes after the last epoch; test chromosomes are not touched.

Command (an hour on 2 cores; a killed run goes on where it stopped):

    python experiments/dna_designs.py

Expected: no gain over noseq where DNA joins as tokens alone, whether pooled or one per bin;
about +0.09 O/E Pearson for the tower with pairwise features, at any depth.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import tyro

from hicray.cli.data_set import prepare_shards
from hicray.cli.defaults import SIMULATED
from hicray.cli.guard import guarded, say
from hicray.config import ModelConfig, Run, TrialConfig
from hicray.metrics.scores import OBJECTIVE
from hicray.training.sweep import open_data, require_seeds, sweep

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


def results_of(folder: Path) -> dict[str, Any]:
    """Return a finished run's scores, cost and size."""
    from hicray.model.build import build
    from hicray.model.checkpoint import read_progress

    progress = read_progress(folder)
    trained = progress.trained
    assert trained is not None
    model = build(progress.trial.model, **trained.layout)
    own = [(name, p.numel()) for name, p in model.named_parameters()]
    last, dna = progress.history[-1], ("head.dna", "head.pairs")
    return {
        "score": last[f"val_{OBJECTIVE}"],
        "mse": last["val_mse"],
        "seconds": sum(epoch["seconds"] for epoch in progress.history),
        "epochs": progress.epoch,
        "parameters": sum(size for _, size in own),
        "dna_parameters": sum(size for name, size in own if name.startswith(dna)),
        "val_windows": last["val_windows"],
    }


def compare_designs(options: Options) -> None:
    """Train every design with every seed, and print their table."""
    require_seeds(options.seeds)
    shards = prepare_shards(SIMULATED.data, Run(storage=options.storage))
    wide = max(shards.manifest.coarse_bin_sizes)
    data = open_data(shards, wide)
    trials = {
        (name, seed): TrialConfig(
            coarse_bin_size=wide,
            model=model,
            train=replace(SIMULATED.train, epochs=options.epochs, seed=seed),
        )
        for seed in range(options.seeds)
        for name, model in DESIGNS.items()
    }
    folders = sweep(trials, data, Path(options.storage) / "designs")
    results = {key: results_of(folder) for key, folder in folders.items()}
    say("", table(results, options.seeds, data.train.rows))


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
        cost = mean(run["seconds"] / run["epochs"] / windows * 1e3 for run in runs)
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
