"""Seq vs noseq: the statement that a search is made for, as Markdown, JSON, pictures and a page.

Test chromosomes are judged here, after a search that never saw them.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from hicray.cluster import connection
from hicray.comparison.arms import score_arms
from hicray.comparison.learning import Learnt
from hicray.comparison.page import page
from hicray.comparison.pictures import figures, file_name
from hicray.comparison.results import GapResult
from hicray.comparison.table import plain, render
from hicray.config import UserError
from hicray.figures import Picture, png
from hicray.io.notes import write_json
from hicray.io.progress import tqdm
from hicray.io.storage import Location, locate
from hicray.metrics.objective import BEST_OBJECTIVE, VAL_OBJECTIVE
from hicray.tracking.outbox import Outbox
from hicray.tracking.track import REFIT, Store, TrialRun
from hicray.training.refit import ENHANCE
from hicray.windows.manifest import Manifest, ShardSet, read_manifest

TITLE = "Does DNA help to sharpen this contact map?"


class Statement(NamedTuple):
    """What a comparison found, for people and for programs."""

    text: str
    results: tuple[GapResult, ...]


def compare(
    store: Store, storage: Location, search: str | None = None, *, use_gpu: bool = False
) -> Statement:
    """Score a search's best trials beside baselines and controls; log, write, return the statement.

    Args:
        store: Where the search was recorded.
        storage: Folder of the search; compare.md, compare.json, compare.html and the figures go to
            ``report`` in it.
        search: Run id of the search; None takes the one of this storage that was run last.
        use_gpu: Score on a node that has a GPU, by the Ray that is joined; else here.

    Raises:
        UserError: There is no such search, it is another storage's, or its shards are gone.
    """
    shards, out = storage / "shards", storage / "report"
    parent = store.last_search(shards) if search is None else _named(store, search, shards)
    manifest = read_manifest(shards)
    trials = store.trials(parent.run_id)
    seed = parent.params.get("train.seed", "0")
    results = []
    for size in tqdm(manifest.coarse_bin_sizes, desc="compare", unit="gap", disable=not use_gpu):
        gap = manifest.gap_tag(size)
        runs = best_trials(trials, gap, seed)
        arms = {arm: [locate(run.tags["checkpoint"]) for run in own] for arm, own in runs.items()}
        curves = {arm: _curves(store, own[0]) for arm, own in runs.items()}
        learning = {arm: [_learnt(store, run) for run in own] for arm, own in runs.items()}
        scored = arms, ShardSet(shards, manifest), size
        result = connection.on_gpu(score_arms, *scored) if use_gpu else score_arms(*scored)
        results.append(
            replace(
                result,
                curves=curves,
                learning=learning,
                tried=tried(trials, gap, seed),
                refit=refit_of(store.trials(parent.run_id, REFIT), gap),
            )
        )
    text, pictures = write(results, manifest, out)
    with Outbox(store) as outbox:
        for name, picture in pictures.items():
            outbox.put(partial(store.figure, parent.run_id, picture, f"{file_name(name)}.png"))
        for name in ("compare.md", "compare.html"):
            outbox.put(partial(store.text, parent.run_id, (out / name).read_text(), name))
    return Statement(text, tuple(results))


def _named(store: Store, search: str, shards: Location) -> TrialRun:
    """Return a search by its run id, if it is one of these shards: the report is theirs."""
    run = store.run(search)
    there = run.tags.get("shards", "")
    if not there or locate(there) != shards.resolve():
        raise UserError(
            f"run {search} is {f'a search of {there}' if there else 'no search'}, not of {shards}; "
            "name its own storage, or leave --search out"
        )
    return run


def refit_of(refits: Sequence[TrialRun], gap: str) -> str:
    """Return what is to be known of a gap's refit, and the lines to enhance by; empty without one.

    Args:
        refits: Of a search.
        gap: Tag of the gap.
    """
    ended = [run for run in refits if run.tags["gap"] == gap and ENHANCE in run.tags]
    if not ended:
        return ""
    last = max(ended, key=lambda run: run.start_time)
    arm, epochs = last.tags["sequence"], last.params["refit_epochs"]
    lines = "\n".join(f"    {line}" for line in last.tags[ENHANCE].splitlines())
    return (
        f"The network to take home, a refit of {arm} at {gap} bp, saw the training, validation and "
        f"test chromosomes for the {epochs} epochs after which {arm} was best, and has no honest "
        f"score of its own; it is expected to be no worse than {arm} above:\n\n{lines}"
    )


def tried(trials: list[TrialRun], gap: str, seed: str) -> dict[str, int]:
    """Return how many distinct configurations each arm tried at one gap, failed ones included.

    Args:
        trials: Of a search.
        gap: Tag of the gap.
        seed: Training seed of the search; other seeds repeat configurations.
    """
    own = [run for run in trials if run.tags.get("gap") == gap]
    different: dict[str, set[tuple[tuple[str, str], ...]]] = {}
    for run in own:
        if run.params.get("train.seed") == seed:
            configurations = different.setdefault(run.tags.get("sequence", ""), set())
            configurations.add(tuple(sorted(run.params.items())))
    return {arm: len(configurations) for arm, configurations in sorted(different.items())}


def best_trials(trials: list[TrialRun], gap: str, seed: str) -> dict[str, list[TrialRun]]:
    """Return each arm's best configuration at one gap: its run in the search, then other seeds'.

    Args:
        trials: Of a search.
        gap: Tag of the gap.
        seed: Training seed of the search; only its runs compete, so that no arm gets more tries.
    """
    best: dict[str, TrialRun] = {}
    there = [run for run in trials if run.tags.get("gap") == gap and run.tags.get("checkpoint")]
    for run in there:
        arm, value = run.tags.get("sequence", ""), _objective(run)
        if run.params.get("train.seed") != seed or value == -math.inf:
            continue
        if arm not in best or value > _objective(best[arm]):
            best[arm] = run
    return {arm: [run, *_other_seeds(there, run)] for arm, run in sorted(best.items())}


def _objective(run: TrialRun) -> float:
    value = run.metrics.get(BEST_OBJECTIVE, math.nan)
    return value if math.isfinite(value) else -math.inf


def _other_seeds(trials: list[TrialRun], best: TrialRun) -> list[TrialRun]:
    """Return runs that differ from the best in their training seed alone, in its order."""
    same = [
        run
        for run in trials
        if run.params != best.params
        and run.params | {"train.seed": ""} == best.params | {"train.seed": ""}
        and run.metrics.get(BEST_OBJECTIVE) is not None
    ]
    return sorted(same, key=lambda run: int(run.params["train.seed"]))


def _curves(store: Store, run: TrialRun) -> dict[str, Sequence[float]]:
    return {name: store.curve(run.run_id, f"{name}_loss") for name in ("train", "val")}


def _learnt(store: Store, run: TrialRun) -> Learnt:
    scores = store.curve(run.run_id, VAL_OBJECTIVE)
    return Learnt(scores, int(run.params.get("train.epochs", len(scores))))


def write(
    results: Sequence[GapResult], manifest: Manifest, out: Location, title: str = TITLE
) -> tuple[str, dict[str, Picture]]:
    """Write the statement and its pictures into a folder; return both.

    Args:
        results: A gap each.
        manifest: Of the shard set.
        out: Folder; earlier statements of the same name are replaced.
        title: Of the page.
    """
    text, pictures = render(results, manifest), figures(results, manifest)
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare.md").write_text(text + "\n")
    write_json(out / "compare.json", plain(results, manifest))
    (out / "compare.html").write_text(page(title, text, pictures))
    for name, picture in pictures.items():
        (out / f"{file_name(name)}.png").write_bytes(png(picture))
    return text, pictures
