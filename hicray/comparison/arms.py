"""All rows of one gap: baselines, controls and trained arms on the same test windows.

Every row is scored on the same windows by the same code, one network at a time. Rows of a trained
arm have one run for each seed; a seq network is also shown DNA that is not its windows' own, with
the same weights.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hicray.comparison.caveats import leak, no_elsewhere, no_shuffled, refuse_refits
from hicray.comparison.results import (
    ARMS,
    CONTRASTS,
    ELSEWHERE,
    HALVES,
    JUDGED,
    MAPLESS,
    MIXED_TRACKS,
    NOSEQ,
    OTHER_TRACKS,
    SEQ,
    SHOWN,
    SHUFFLED,
    SWAPPED,
    TRACKS,
    UNTRAINED,
    GainBySeparation,
    GapResult,
    Row,
)
from hicray.config import ModelConfig, TrialConfig, UserError
from hicray.evaluation.baselines import baselines
from hicray.evaluation.rivals import CEILING, Rivals, ceiling, fit
from hicray.evaluation.window_set import (
    HeldOutWindows,
    Predictor,
    SeparationBand,
    WindowScores,
    band_score,
    device,
)
from hicray.io.storage import Location, locate
from hicray.maps.bins import SplitName
from hicray.maps.genome import read_packed
from hicray.metrics.paired import Difference, difference_of_gains, paired_difference
from hicray.model import checkpoint
from hicray.model.build import build
from hicray.model.enhancer import Enhancer
from hicray.model.opened import open_network
from hicray.panels import Locus
from hicray.predict.predictors import mapless_predictor, model_predictor
from hicray.training.data import SEARCHED
from hicray.training.embeddings import find
from hicray.training.examples import loci
from hicray.windows.batches import Batch
from hicray.windows.bin_table import BinTables, GenomeTables, read_note
from hicray.windows.collate import Collate
from hicray.windows.dna import Whose
from hicray.windows.genome_tables import read_tables
from hicray.windows.manifest import GENOME, Manifest, ShardSet
from hicray.windows.track_table import read_tracks

Arms = Mapping[str, Sequence[Location]]
"""Checkpoints of each arm, one for each seed."""


def score_arms(
    arms: Arms,
    shards: ShardSet,
    size: int,
    *,
    split: SplitName = "test",
    more: Mapping[str, Predictor] | None = None,
) -> GapResult:
    """Score all rows of one gap on one set and compare them.

    Args:
        arms: What was trained.
        shards: The shard set.
        size: Coarse bins, in bp.
        split: The set.
        more: Further rows.

    Raises:
        UserError: A network saw all chromosomes.
    """
    trials = {arm: [checkpoint.read_progress(p).trial for p in own] for arm, own in arms.items()}
    refuse_refits(trials)
    windows = windows_of(trials, shards, size, split)
    rivals = fit(*(_plain_windows(shards, size, one) for one in SEARCHED))
    swapped = {SEQ, ELSEWHERE, TRACKS}
    left_out = no_elsewhere(windows) if trials.keys() & swapped else ""
    if left_out:
        arms = {arm: own for arm, own in arms.items() if arm != ELSEWHERE}
    first = next(windows.batches(at_once=2))
    rows, shown = _score(arms, trials, windows, first, rivals, swappable=not left_out)
    halves = windows.score_halves()
    known = windows.score(more, "truth") if more else {}
    known |= {HALVES: halves, CEILING: ceiling(halves)}
    rows |= {name: Row.untrained(run) for name, run in known.items()}
    others = [(NOSEQ, rivals.best), *((arm, NOSEQ) for arm in arms if arm not in ARMS)]
    return GapResult(
        gap=shards.manifest.gap_tag(size),
        coarse_bin_size=size,
        split=split,
        rows=rows,
        differences=_differences(rows, others),
        by_separation=_by_separation(rows, windows.bands),
        settings={**rivals.settings, **{arm: describe(own[0]) for arm, own in trials.items()}},
        examples=_examples(shown, first, windows.collate),
        leak=leak([one for own in trials.values() for one in own], shards.manifest, split),
        best_filter=rivals.best,
        left_out=" ".join(filter(None, (left_out, no_shuffled(windows)))),
    )


def _score(
    arms: Arms,
    trials: Mapping[str, Sequence[TrialConfig]],
    windows: HeldOutWindows,
    first: Batch,
    rivals: Rivals,
    *,
    swappable: bool,
) -> tuple[dict[str, Row], dict[str, Tensor]]:
    """Score every row; return what the arms make of the first windows, too.

    One network at a time is in memory.
    """
    manifest = windows.collate.manifest
    free = {**baselines(windows.collate), **rivals.predictors}
    once = windows.score(free, "baselines")
    if NOSEQ in trials:
        fresh = {UNTRAINED: model_predictor(_fresh(trials[NOSEQ][0], manifest))}
        once |= windows.score(fresh, UNTRAINED)
        fresh.clear()
    runs: dict[str, dict[int, WindowScores]] = {}
    shown = {rivals.best: rivals.predictors[rivals.best](first)}
    for arm in sorted(arms, key=lambda name: ARMS.index(name) if name in ARMS else len(ARMS)):
        for trial, folder in zip(trials[arm], arms[arm], strict=True):
            seed, model = trial.train.seed, load(folder, manifest)
            views = _views(arm, model, windows.collate, swappable=swappable)
            for name, run in windows.score(views, f"{arm}, seed {seed}").items():
                runs.setdefault(name, {})[seed] = run
            if arm not in shown:
                shown[arm] = views[arm](first)
    rows = {name: Row.untrained(run) for name, run in once.items()}
    return rows | {name: Row(own) for name, own in runs.items()}, shown


def windows_of(
    trials: Mapping[str, Sequence[TrialConfig]],
    shards: ShardSet,
    size: int,
    split: SplitName,
) -> HeldOutWindows:
    """Return windows that serve all networks of a gap, with their stored tokens if there are.

    Args:
        trials: Of each arm: what its networks read decides what windows bring.
        shards: The shard set.
        size: Coarse bin size, in bp.
        split: Set whose windows are meant.
    """
    models = [one.model for own in trials.values() for one in own]
    genome = read_packed(shards.folder / GENOME) if any(m.reads_bases for m in models) else None
    # Each model cuts what it reads out of the widest flanks; a search's encoder is one.
    flank = max((model.flank_bins for model in models), default=0)
    kept = find(models[0], shards, size) if models else None
    bins = BinTables(_embeddings(models, shards), _tracks(models, shards))
    form = kept.form if kept else None
    collate = Collate(shards.manifest, size, genome, flank, form, bins=bins)
    return HeldOutWindows(shards.folder, split, collate, size, kept.folder if kept else None)


def _embeddings(models: Sequence[ModelConfig], shards: ShardSet) -> GenomeTables | None:
    """Return the stored embeddings that networks read, those of shuffled DNA with them."""
    reading = [model for model in models if model.reads_embeddings]
    if not reading:
        return None
    folder = locate(reading[0].dna_embeddings)
    made_by = read_note(folder).model_digest
    if any(model.embedding_model != made_by for model in reading):
        raise UserError(
            f"{folder} holds other embeddings than these networks were trained with; put back the "
            "table, or train anew"
        )
    return read_tables(folder, shards.manifest, shuffled=True)


def _tracks(models: Sequence[ModelConfig], shards: ShardSet) -> GenomeTables | None:
    reading = [model for model in models if model.reads_tracks]
    return read_tracks(reading[0], shards.manifest) if reading else None


def _plain_windows(shards: ShardSet, size: int, split: SplitName) -> HeldOutWindows:
    """Return windows of maps alone."""
    return HeldOutWindows(shards.folder, split, Collate(shards.manifest, size), size)


def load(folder: Location, manifest: Manifest) -> Enhancer:
    """Return a checkpoint's network, on the GPU where there is one."""
    trial = checkpoint.read_progress(folder).trial
    return open_network(folder, manifest.layout(trial.coarse_bin_size)).to(device())


def _fresh(trial: TrialConfig, manifest: Manifest) -> Enhancer:
    """Return a network before training: the base map, or published weights as they are."""
    torch.manual_seed(trial.train.seed)
    model = build(trial.model, **manifest.layout(trial.coarse_bin_size))
    return model.eval().to(device())


def _views(arm: str, model: Enhancer, collate: Collate, *, swappable: bool) -> dict[str, Predictor]:
    """Return a network's rows: as it was trained, noseq without its map, seq with DNA not its own.

    DNA's tokens go through the decoder too, so that seq's map is not the contact encoder's alone.
    """
    predict = model_predictor(model)
    if arm == ELSEWHERE:
        return {arm: _with_dna(predict, collate, "elsewhere")}
    if arm == NOSEQ:
        return {arm: predict, MAPLESS: mapless_predictor(model)}
    if arm == TRACKS:
        views = {arm: predict, MIXED_TRACKS: _with_tracks(predict, collate, "shuffled")}
        other = {OTHER_TRACKS: _with_tracks(predict, collate, "elsewhere")}
        return views | (other if swappable else {})
    if arm != SEQ:
        return {arm: predict}
    views = {SEQ: predict}
    # Stored embeddings cannot be shuffled: they need a pass over shuffled DNA.
    if collate.embeddings is None or collate.embeddings.tables.shuffled is not None:
        views[SHUFFLED] = _with_dna(predict, collate, "shuffled")
    return views | ({SWAPPED: _with_dna(predict, collate, "elsewhere")} if swappable else {})


def _with_dna(predict: Predictor, collate: Collate, dna: Whose) -> Predictor:
    return lambda batch: predict(collate.with_dna(batch, dna))


def _with_tracks(predict: Predictor, collate: Collate, whose: Whose) -> Predictor:
    return lambda batch: predict(collate.with_tracks(batch, whose))


def _differences(
    rows: Mapping[str, Row], others: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], dict[str, Difference]]:
    return {
        (ours, theirs): {
            score: paired_difference(rows[ours].frames, rows[theirs].frames, score)
            for score in SHOWN
        }
        for ours, theirs in (*CONTRASTS, *others)
        if ours in rows and theirs in rows
    }


def _by_separation(rows: Mapping[str, Row], bands: list[SeparationBand]) -> GainBySeparation:
    if SEQ not in rows or NOSEQ not in rows:
        return {}
    pair = rows[SEQ].frames, rows[NOSEQ].frames
    return {
        score: {band: paired_difference(*pair, band_score(score, band)) for band in bands}
        for score in JUDGED
    }


def gain_over_gaps(wide: GapResult, near: GapResult) -> dict[str, Difference]:
    """Return how much larger seq's gain is at one gap than at another, by judged score."""
    larger, smaller = ((one.rows[SEQ].frames, one.rows[NOSEQ].frames) for one in (wide, near))
    return {score: difference_of_gains(larger, smaller, score) for score in JUDGED}


def describe(trial: TrialConfig) -> str:
    """Return the settings that a search chooses, as a table names them."""
    model, train = trial.model, trial.train
    rate = f"base_learning_rate {train.base_learning_rate:g}"
    parts = [f"ssim_weight {train.ssim_weight:g}", rate]
    if model.sequence != "off":
        if "tower" in model.dna and model.sequence not in ("composition", "tracks"):
            parts.append(f"depth {model.depth}")
        parts.append(f"fusion {model.fusion}")
        if model.reads_dna:
            parts.append(f"hidden_dna {train.hidden_dna:g}")
    return ", ".join(parts)


def _examples(predicted: Mapping[str, Tensor], batch: Batch, collate: Collate) -> tuple[Locus, ...]:
    """Return maps of windows: coarse, best filter, both arms, fine."""
    arms = [arm for arm in (NOSEQ, SEQ) if arm in predicted]
    filters = {name: maps for name, maps in predicted.items() if name not in ARMS}
    shown = {"coarse": batch.coarse, **filters} | {arm: predicted[arm] for arm in arms}
    return loci(batch, collate, shown)
