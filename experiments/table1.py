"""The report's table: no fine-tuning; noseq and seq on map A, map B and both; the wide gap on A.

The recipe is the report's: 32 epochs, batch 4, accumulation 4, 2 workers, SSIM weight 0.2, the
mean squared error as the loss, the pooled DNA encoder whose token joins the contact tokens in the
decoder, no residual and no coarse path. Map A is trained on once more with the coarse path and all
else the same (`--loss likelihood --residual --coarse-path on` is this network's own way). The
vision transformer is frozen where weights are given, and trained from scratch where none are,
which the table says. Beside the report's rows stand the baselines that it lacked.

Command, for the report's maps (A is HFF, B is H1-ESC; a GPU for each of the two workers, or on one
GPU --workers 1 --accumulate 8 for steps of as many windows):

    python experiments/table1.py --contacts 4DNFI643OYP9.mcool 4DNFI9GMP2J8.mcool \
        --genome hg38.fa --preset large --encoder frozen \
        --encoder-weights hicfoundation_pretrain.pth.tar --split hicfoundation --use-gpu

Command, small: two simulated cell lines of one genome (half an hour on 2 cores):

    python experiments/table1.py

Expected: seq no better than noseq in any pair of rows, and neither better than the coarse map. One
embedding of a whole window, joined as a token, cannot say where a motif lies
(experiments/dna_designs.py shows what can).
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import tyro

from hicray.cli.data_set import checked, connect, prepare_shards
from hicray.cli.guard import guarded, say
from hicray.cli.main import Flat
from hicray.config import DataConfig, ModelConfig, Run, TrainConfig, UserError, digest, flatten
from hicray.io.storage import locate
from hicray.windows.manifest import ShardSet

RECIPE = TrainConfig(
    epochs=32, batch_size=4, accumulate=4, workers=2, loss="report", ssim_weight=0.2, hidden_dna=0.0
)
REPORTED = ModelConfig(dna="pooled", fusion="tokens", coarse_path="off", residual=False)


@dataclass(frozen=True, kw_only=True)
class Table1:
    """The report's experiment over any two maps."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = REPORTED
    train: TrainConfig = RECIPE
    run: Run = field(default_factory=Run)


SMALL = Table1(
    data=DataConfig(
        fine_bin_size=64, coarse_bin_sizes=(128, 256), window_bins=64, train_stride_bins=32
    ),
    # From scratch, in few steps: the report's rate is one for fine-tuning.
    train=replace(RECIPE, base_learning_rate=0.016),
    run=Run(storage="runs/table1"),
)
"""Two simulated cell lines, small enough for two cores."""
SMALL_CHROMOSOMES = 12


def main(options: Table1) -> None:
    """Train all rows, score them on the test chromosomes, and log table and loss curves."""
    # Ray, torch and matplotlib take seconds to import: after what can be refused at once.
    from hicray.figures import loss_curves
    from hicray.tracking import stores, track
    from hicray.tracking.outbox import Outbox

    options = replace(options, model=checked(options.model, options.data))
    storage = Path(options.run.storage or "runs/table1").resolve()
    data = _two_maps(options.data, storage)
    connect(options.run, options.train.workers)
    store = track.open_store(storage, options.run.tracking_uri)
    store.experiment()
    lines: list[str] = []
    curves: dict[str, dict[str, list[float]]] = {}
    parts = [(name, name, own, options) for name, own in _data_sets(data).items()]
    sharpening = replace(options, model=replace(options.model, coarse_path="on"))
    title, name, first, _ = parts[0]
    parts.append((f"{title} with the coarse path", name, first, sharpening))
    for title, name, own, chosen in parts:
        text, found = _data_set(title, own, chosen, storage / name.replace(" ", "_"), store)
        lines += text
        curves |= found
    statement = "\n".join([_how(options), "", *lines])
    (storage / "table1.md").write_text(statement + "\n")
    figure = loss_curves(curves, "training and validation loss")
    figure.savefig(storage / "loss_curves.png", dpi=110)
    with Outbox(store) as outbox:
        outbox.put(partial(_record, store, options, statement, figure))
    say("", statement, "", f"table and curves: {storage}", stores.ui_command(store.uri))


def _record(store: Any, options: Table1, statement: str, figure: Any) -> None:
    from hicray.tracking import track

    run = store.find_or_start(
        track.EXPERIMENT_RUN, f"table1-{digest(options)}", flatten(options), {}
    )
    store.text(run, statement, "table1.md")
    store.figure(run, figure, "loss_curves.png")
    store.finish(run)


def _two_maps(data: DataConfig, storage: Path) -> DataConfig:
    """Return the data of both maps, simulated where none is given."""
    from hicray.simulation.simulate import CELL_LINES, SimulationConfig, default_split, simulate

    if data.contacts or data.genome:
        if len(data.contacts) != 2 or len(data.coarse_bin_sizes) != 2:
            raise UserError(
                f"table 1 is of two maps at two gaps, given were {len(data.contacts)} maps and "
                f"{len(data.coarse_bin_sizes)} coarse bin sizes; name two of each"
            )
        return data
    config = SimulationConfig(bin_size=data.fine_bin_size, num_chromosomes=SMALL_CHROMOSOMES)
    made = simulate(storage / "simulation", config, CELL_LINES)
    maps, split = tuple(map(str, made.contacts)), default_split(config)
    return replace(data, contacts=maps, genome=str(made.genome), split=split)


def _data_sets(data: DataConfig) -> dict[str, DataConfig]:
    """Return map A at both gaps, map B and both maps at the narrow one."""
    first, second = data.contacts
    near = (min(data.coarse_bin_sizes),)
    return {
        "A": replace(data, contacts=(first,)),
        "B": replace(data, contacts=(second,), coarse_bin_sizes=near),
        "A and B": replace(data, coarse_bin_sizes=near),
    }


def _data_set(
    name: str, data: DataConfig, options: Table1, storage: Path, store: Any
) -> tuple[list[str], dict[str, dict[str, list[float]]]]:
    """Train noseq and seq on one data set at its gaps; return table lines and loss curves."""
    from hicray.training.space import SearchConfig
    from hicray.training.trial import Resources
    from hicray.training.tune import search

    shards = prepare_shards(data, replace(options.run, storage=str(storage)))
    resources = Resources(options.run.use_gpu, options.run.cpus_per_worker)
    what = SearchConfig(model=options.model, train=options.train, trials=1)
    parent = search(what, shards, resources, store)
    lines: list[str] = []
    curves = {}
    for size in sorted(shards.manifest.coarse_bin_sizes):
        gap = shards.manifest.gap_tag(size)
        runs = {run.tags["sequence"]: run for run in store.trials(parent) if run.tags["gap"] == gap}
        lines += _scored(f"{name}, {gap} bp", runs, shards, size)
        for arm, run in sorted(runs.items()):
            curves[f"{arm}, {name}, {gap}"] = {
                part: store.curve(run.run_id, f"{part}_loss") for part in ("train", "val")
            }
    return lines, curves


def _scored(title: str, runs: dict[str, Any], shards: ShardSet, size: int) -> list[str]:
    """Return one data set's rows: baselines, the network before fine-tuning, noseq and seq."""
    from hicray.comparison.arms import score_arms
    from hicray.comparison.table import cell

    arms = {arm: [locate(run.tags["checkpoint"])] for arm, run in sorted(runs.items())}
    result = score_arms(arms, shards, size)
    count = shards.manifest.num_windows("test")
    lines = [f"### {title} (n = {count} test windows)", "", "| model | MSE | Pearson |"]
    lines.append("| --- | --- | --- |")
    for method, row in result.rows.items():
        lines.append(f"| {method} | {cell(row, 'mse')} | {cell(row, 'pearson')} |")
    return [*lines, "", *([result.leak, ""] if result.leak else [])]


def _how(options: Table1) -> str:
    encoder, train = options.model.encoder, options.train
    weights = {"scratch": "trained from scratch, no weights given (no fine-tune: at random)"}
    return (
        f"{options.model.preset} vision transformer, {weights.get(encoder, encoder)}; DNA "
        f"{options.model.dna}, {options.model.fusion}; {train.epochs} epochs, "
        f"batch {train.batch_size} x {train.accumulate} x "
        f"{train.workers} workers, SSIM weight {train.ssim_weight:g}, seed {train.seed}; best "
        "epoch by validation O/E Pearson; mean ± sd over windows of the test chromosomes"
    )


def _default(words: Sequence[str]) -> Table1:
    real = any(word.split("=")[0] == "--contacts" for word in words)
    return Table1() if real else SMALL


if __name__ == "__main__":
    given = sys.argv[1:]
    guarded(lambda: main(tyro.cli(Table1, default=_default(given), args=given, config=(Flat,))))
