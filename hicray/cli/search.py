"""``tune_encoder.py`` and ``hicray train``: arms searched alike at every gap, then compared."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hicray.cli.compare import compare
from hicray.cli.data_set import checked, connect, resolved, shards_of
from hicray.cli.guard import say
from hicray.config import DataConfig, Run, SequenceMode, Tune, UserError
from hicray.io.storage import Location

if TYPE_CHECKING:
    from hicray.comparison.report import Statement


def tune(options: Tune) -> "Statement":
    """Search every arm at every gap, then compare the best of each on test chromosomes."""
    if options.model.sequence != "on":
        raise UserError(
            f"--sequence {options.model.sequence} is for `hicray train`; a search takes --arms, "
            "such as --arms off on blank"
        )
    storage, search = search_cells(options, options.arms)
    return compare(storage, options.run.tracking_uri, search, use_gpu=options.run.use_gpu)


def search_cells(options: Tune, arms: tuple[SequenceMode, ...]) -> tuple[Location, str]:
    """Prepare and search the given arms at every gap; return the storage and the search's run id.

    Raises:
        UserError: Something cannot be, and is refused before Ray starts where it can be known.
    """
    from hicray.maps.check import require_genome
    from hicray.windows.track_table import require_tracks

    require_genome(options.data, arms)
    model = checked(options.model, options.data)
    require_tracks(model, arms)
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
    with resolved(options.data, options.run) as (data, storage):
        return storage, _search(what, options.run, data, storage, refitted=options.refit)


def _search(what: Any, run: Run, data: DataConfig, storage: Location, *, refitted: bool) -> str:
    from hicray.maps.bins import nothing_held_out
    from hicray.windows.dna import require_elsewhere
    from hicray.windows.enough import most_windows, require_step
    from hicray.windows.genome_tables import require_table
    from hicray.windows.track_table import scaled

    require_step(most_windows(data), what.train)
    require_table(what.model, data)
    what = replace(what, model=scaled(what.model, data))
    connect(run, what.train.workers)
    # What takes seconds to import comes after what can be refused at once.
    from hicray.tracking.track import open_store
    from hicray.training.effort import described, fitted
    from hicray.training.trial import Resources
    from hicray.training.tune import search

    store = open_store(storage, run.tracking_uri)
    store.experiment()
    shards = shards_of(data, storage)
    windows = shards.manifest.num_windows("train")
    what = replace(what, train=fitted(what.train, windows))
    say(described(what.train, windows))
    if "elsewhere" in what.sequences:
        require_elsewhere(shards.manifest, what.model.flank_bins)
    resources = Resources(run.use_gpu, run.cpus_per_worker)
    found = search(what, shards, resources, store)
    if refitted:
        from hicray.training.refit import refit

        data = replace(data, split=nothing_held_out(data.split))
        everything = shards_of(data, storage / "refit")
        refit(what, shards, everything, data, resources, store, found)
    return found
