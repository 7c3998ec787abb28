"""What hicray does for a user, each job composed of the rooms: prepare, search, enhance, ...

What can be refused is refused first, before Ray starts and before heavy libraries are imported.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from hicray.config import DataConfig, ModelConfig, Run, Sequence, Tune, UserError
from hicray.evaluate.options import Baselines, Evaluate
from hicray.io.storage import Location, locate, require_writable
from hicray.predict.request import Ablate, Enhance


def say(*lines: str) -> None:
    """Write result lines to standard output."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def checked(model: ModelConfig, data: DataConfig) -> ModelConfig:
    """Check a network and how its windows are laid out; return it with its weights' full path.

    Workers have working folders of their own.

    Raises:
        UserError: Something cannot be, or published weights do not fit.
    """
    from hicray.maps.check import check_model
    from hicray.windows.plan import layout

    check_model(model)
    layout(data)
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


def prepare_shards(data: DataConfig, run: Run) -> tuple[Location, Any]:
    """Check the data set, cut it into shards, and return their folder and manifest."""
    from hicray.cluster import connection

    with _resolved(data, run) as (data, storage):
        connection.connect()
        return _shards(data, storage)


def embed_windows(data: DataConfig, model: ModelConfig, run: Run) -> None:
    """Prepare, and run the frozen encoder once over all windows of every gap."""
    if model.encoder != "frozen" or model.embeddings == "none":
        raise UserError(
            f"--encoder {model.encoder} --embeddings {model.embeddings} leaves nothing to embed; "
            "give --encoder frozen with --encoder-weights FILE, and --embeddings bf16 or fp32"
        )
    model = checked(model, data)
    with _resolved(data, run) as (data, storage):
        connect(run)
        folder, manifest = _shards(data, storage)
        from hicray.training.embeddings import embed

        for size in manifest.coarse_bin_sizes:
            where, form = embed(model, folder, manifest, size, use_gpu=run.use_gpu)
            say(f"{where}: {form.precision} tokens of {size:,} bp maps")


def tune(options: Tune) -> None:
    """Search every arm at every gap, then compare the best of each on test chromosomes."""
    if options.model.sequence != "on":
        raise UserError(
            f"--sequence {options.model.sequence} is for `hicray train`; a search takes --arms, "
            "such as --arms off on blank"
        )
    storage, search = search_cells(options, options.arms)
    compare(storage, options.run.tracking_uri, search, use_gpu=options.run.use_gpu)


def compare(
    storage: Location, tracking_uri: str = "", search: str | None = None, *, use_gpu: bool = False
) -> None:
    """Print and log seq vs noseq from MLflow: per gap, best trials beside the baselines.

    Args:
        storage: Folder of the search.
        tracking_uri: MLflow store or server; as ``open_store`` says if not given.
        search: Run id of the search; the one of this storage that was run last if not given.
        use_gpu: Score on a GPU of the cluster, which is joined or started if need be.
    """
    from hicray.compare.report import compare as run
    from hicray.tracking import stores, track

    store = track.open_store(storage, tracking_uri, reading=True)
    if use_gpu:
        connect(Run(use_gpu=True))
    text = run(store, storage, search, use_gpu=use_gpu)
    say("", text, "", f"page: {storage / 'report' / 'compare.html'}", stores.ui_command(store.uri))


def enhance(request: Enhance) -> None:
    """Sharpen a whole map with a trained network, and write it as an .mcool."""
    from hicray.predict.enhance import enhance as run
    from hicray.predict.preflight import check

    job = check(request)
    connect(Run(use_gpu=request.use_gpu))
    done = run(job)
    spent = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in done.seconds.items())
    here, there = (f"at most {peak / 2**30:.2f} GiB" for peak in done.peak_bytes)
    say(done.scale, f"{done.out}: {done.tiles} tiles; {spent}; {here} here, {there} in an actor")


def ablate(request: Ablate) -> None:
    """Predict the window around a stretch of DNA with and without it, and draw both."""
    from hicray.predict.preflight import check_ablation

    opened, region = check_ablation(request)
    from hicray.figures import png
    from hicray.predict.ablation import ablate_locus

    found = ablate_locus(opened, region, draws=request.draws)
    request.out.write_bytes(png(found.picture()))
    change = found.ablation.log2_change.abs()
    say(
        found.scale,
        f"{request.out}: without it, contacts of the window change by {float(change.mean()):.4f} "
        f"(mean |log2|) and at most {float(change.max()):.4f}",
    )


def evaluate(options: Evaluate) -> None:
    """Score maps against a fine map; print and write the tables."""
    from hicray.evaluate.compared import open_compared, resolve
    from hicray.evaluate.score_maps import evaluate as run
    from hicray.evaluate.tables import identify, refuse_other, write

    maps = resolve(options)
    identity = identify(maps)
    refuse_other(options.out, identity)
    say(write(run(open_compared(maps)), options.out, identity), f"written: {options.out}")


def baselines(options: Baselines) -> None:
    """Write the baselines of a map, and say how they are judged."""
    from hicray.evaluate.baseline_plan import commands, make_baselines, resolve

    plan = resolve(options)
    made = make_baselines(plan, options.out)
    say(*(f"{name}: {path}" for name, path in made.items()), *commands(plan, options.out))


def search_cells(options: Tune, arms: tuple[Sequence, ...]) -> tuple[Location, str]:
    """Prepare and search the given arms at every gap; return the storage and the search's run id.

    Raises:
        UserError: Something cannot be, and is refused before Ray starts where it can be known.
    """
    from hicray.maps.check import require_genome

    require_genome(options.data, arms)
    model = checked(options.model, options.data)
    from hicray.training.space import SearchConfig, require_distinct, require_taken_home, started

    what = SearchConfig(
        model=started(model, options.data),
        train=options.train,
        sequences=arms,
        trials=options.trials,
        seed=options.search_seed,
        seeds=options.seeds,
    )
    require_distinct(what, options.data.coarse_bin_sizes)
    if options.refit:
        require_taken_home(arms)
    with _resolved(options.data, options.run) as (data, storage):
        return storage, _search(what, options.run, data, storage, refitted=options.refit)


def _search(what: Any, run: Run, data: DataConfig, storage: Location, *, refitted: bool) -> str:
    from hicray.maps.bins import nothing_held_out
    from hicray.windows.dna import require_elsewhere
    from hicray.windows.enough import most_windows, require_step

    require_step(most_windows(data), what.train)
    connect(run, what.train.workers)
    # What takes seconds to import comes after what can be refused at once.
    from hicray.tracking.track import open_store
    from hicray.training.effort import described, fitted
    from hicray.training.trial import Resources
    from hicray.training.tune import search

    store = open_store(storage, run.tracking_uri)
    store.experiment()
    folder, manifest = _shards(data, storage)
    windows = manifest.num_windows("train")
    what = replace(what, train=fitted(what.train, windows))
    say(described(what.train, windows))
    if "elsewhere" in what.sequences:
        require_elsewhere(manifest, what.model.flank_bins)
    resources = Resources(run.use_gpu, run.cpus_per_worker)
    found = search(what, folder, manifest, resources, store)
    if refitted:
        from hicray.training.refit import ShardSet, refit

        data = replace(data, split=nothing_held_out(data.split))
        everything = ShardSet(*_shards(data, storage / "refit"))
        searched = ShardSet(folder, manifest)
        refit(what, searched, everything, data, resources, store, found)
    return found


@contextlib.contextmanager
def _resolved(data: DataConfig, run: Run) -> Iterator[tuple[DataConfig, Location]]:
    """Check the data set, simulating one where no map is given, and hold its storage."""
    from hicray.compare.foreseen import check_data
    from hicray.io.lock import exclusive
    from hicray.simulation.simulated import simulated_data
    from hicray.windows.claim import plan_digest, refuse_other_plan
    from hicray.windows.enough import with_stride
    from hicray.windows.plan import layout

    layout(data)
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


def _shards(data: DataConfig, storage: Location) -> tuple[Location, Any]:
    from hicray.cluster import connection
    from hicray.maps.bins import SPLIT_NAMES
    from hicray.windows.shards import prepare as run

    connection.require_shared(storage)
    folder = storage / "shards"
    manifest = run(data, folder)
    counts = ", ".join(f"{manifest.num_windows(name)} {name}" for name in SPLIT_NAMES)
    dropped = sum(manifest.dropped.values())
    say(f"{folder}: {counts} windows ({dropped} left out as too little usable)")
    return folder, manifest
