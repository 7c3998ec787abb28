"""Seq vs noseq: the table that a search is made for, from MLflow's runs and the test windows.

Test chromosomes are judged here, after a search that never saw them.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hicray.evaluation.baselines import baselines, model_predictor
from hicray.evaluation.held_out import Predictor, batches, device, score
from hicray.evaluation.paired import paired_difference
from hicray.evaluation.table import SHOWN, GapResult, plain, render
from hicray.figures import map_panels
from hicray.maps.bins import SplitName
from hicray.maps.genome import read_packed
from hicray.model.build import build
from hicray.model.enhancer import Enhancer
from hicray.training import checkpoint
from hicray.training.embeddings import find
from hicray.training.record import BEST_OBJECTIVE, gap_tag
from hicray.training.track import Store, TrialRun
from hicray.windows.batches import Batch, Collate
from hicray.windows.manifest import GENOME, Manifest, read_manifest, write_json

SETS: tuple[SplitName, ...] = ("val", "test")


def compare(store: Store, out: Path, search: str | None = None) -> str:
    """Score a search's best trials beside the baselines; log, write and return the table.

    Args:
        store: Where the search was recorded.
        out: Folder for compare.md, compare.json and the figures.
        search: Run id of the search; None takes the newest.

    Raises:
        UserError: There is no search, or its shards are gone.
    """
    parent = store.last_search() if search is None else store.run(search)
    shards = Path(parent.tags["shards"])
    manifest = read_manifest(shards)
    trials = store.trials(parent.run_id)
    results = [_gap(trials, shards, manifest, size) for size in manifest.coarse_bin_sizes]
    text = render(results, manifest)
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare.md").write_text(text + "\n")
    write_json(out / "compare.json", plain(results, manifest))
    for result in results:
        name = f"test_windows_{result.coarse_bin_size}.png"
        title = f"test windows, {result.gap} bp, log10(x + 1) / 3"
        picture = map_panels(result.examples, title)
        picture.savefig(out / name, dpi=110)
        with store.forgiving():
            store.figure(parent.run_id, picture, name)
    with store.forgiving():
        store.text(parent.run_id, text, "compare.md")
    return text


def best_trials(trials: list[TrialRun], gap: str) -> dict[str, TrialRun]:
    """Return each arm's trial of one gap with the best validation objective."""
    best: dict[str, TrialRun] = {}
    for run in trials:
        arm = run.tags.get("sequence", "")
        value = run.metrics.get(BEST_OBJECTIVE, -math.inf)
        if run.tags.get("gap") != gap or not run.tags.get("checkpoint") or math.isnan(value):
            continue
        if arm not in best or value > best[arm].metrics[BEST_OBJECTIVE]:
            best[arm] = run
    return dict(sorted(best.items()))  # noseq before seq


def _gap(trials: list[TrialRun], shards: Path, manifest: Manifest, size: int) -> GapResult:
    gap = gap_tag(size, manifest)
    best = best_trials(trials, gap)
    collate, tokens = open_gap(best, shards, manifest, size)
    predictors: dict[str, Predictor] = dict(baselines(collate))
    for arm, run in best.items():
        predictors[arm] = model_predictor(load_trial(run, manifest))
    rows = {split: score(predictors, shards, split, collate, size, tokens) for split in SETS}
    differences = {}
    if {"seq", "noseq"} <= best.keys():
        pair = rows["test"]["seq"].windows, rows["test"]["noseq"].windows
        differences = {name: paired_difference(*pair, name) for name in SHOWN}
    settings = {arm: _settings(run) for arm, run in best.items()}
    first = next(batches(shards, "test", collate, size, tokens, at_once=2))
    examples = _examples(predictors, first, collate.groups)
    return GapResult(gap, size, rows, differences, settings, examples)


def open_gap(
    runs: Mapping[str, TrialRun], shards: Path, manifest: Manifest, size: int
) -> tuple[Collate, Path | None]:
    """Return the collate that serves all of a gap's trials, and the folder of their tokens."""
    folders = [Path(run.tags["checkpoint"]) for run in runs.values()]
    models = [checkpoint.read_progress(folder).trial.model for folder in folders]
    genome = None
    if any(model.sequence == "on" for model in models):
        genome = read_packed(shards / GENOME)
    # Each model cuts what it reads out of the widest flanks; a search's encoder is one.
    flank = max((model.flank_bins for model in models), default=0)
    kept = find(models[0], shards, manifest, size) if models else None
    collate = Collate(manifest, size, genome, flank, kept.form if kept else None)
    return collate, kept.folder if kept else None


def load_trial(run: TrialRun, manifest: Manifest) -> Enhancer:
    """Return a trial's network at its best epoch, on the GPU where there is one."""
    folder = Path(run.tags["checkpoint"])
    trial = checkpoint.read_progress(folder).trial
    model = build(trial.model, window_bins=manifest.window_bins, bin_size=manifest.fine_bin_size)
    checkpoint.load_weights(folder, model)
    return model.eval().to(device())


def _settings(run: TrialRun) -> str:
    searched = ["train.ssim_weight"]
    if run.tags["sequence"] != "noseq":
        tower = run.params["model.dna"] == "tower"
        searched += ["model.depth", "model.fusion"] if tower else ["model.fusion"]
    return ", ".join(f"{name.split('.')[1]} {run.params[name]}" for name in searched)


def _examples(
    predictors: Mapping[str, Predictor], batch: Batch, groups: Sequence[tuple[str, str]]
) -> dict[str, dict[str, np.ndarray]]:
    """Return maps of test windows: coarse, every arm, fine, and what the arms miss."""
    shown = {"coarse": batch.coarse}
    shown |= {arm: predictors[arm](batch) for arm in ("noseq", "seq") if arm in predictors}
    shown["fine"] = batch.target
    for arm in ("noseq", "seq"):
        if arm in shown:
            shown[f"difference {arm} - fine"] = shown[arm] - batch.target
    return {
        f"{groups[int(batch.group[i])][1]}:{int(batch.row_start[i]):,}": {
            name: maps[i].cpu().numpy() for name, maps in shown.items()
        }
        for i in range(len(batch))
    }
