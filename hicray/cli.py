"""``hicray <verb>``: reads options, composes the rooms, decides nothing.

Heavy libraries are imported by the verb that needs them, so that ``--help`` answers at once.
"""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from hicray.config import DataConfig, ModelConfig, Sequence, TrainConfig, UserError

Flat: Any = tyro.conf.OmitArgPrefixes


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where results go and what they are made with."""

    storage: str = ""
    """Folder of shards, checkpoints, search state and reports; runs/NAME if not given."""
    tracking_uri: str = ""
    """MLflow store or server; a SQLite file in the storage folder if not given."""
    use_gpu: bool = False
    """One GPU per worker."""
    cpus_per_worker: float = 1.0
    """CPUs reserved for each worker."""


@dataclass(frozen=True, kw_only=True)
class Tune:
    """A search over {noseq, seq} x gaps."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    run: Run = field(default_factory=Run)
    arms: tuple[Sequence, ...] = ("off", "on")
    """What is compared: off (noseq), on (seq), blank (seq's modules without DNA)."""
    trials: int = 4
    """Trials per cell: every arm at every gap has as many."""
    search_seed: int = 0
    """Seed of the searcher."""


FROM_SCRATCH = 0.064
"""Base learning rate of the tiny network without weights; published ones are tuned at 1.5e-3."""
SIMULATED = Tune(
    data=DataConfig(fine_bin_size=128, coarse_bin_sizes=(256, 512), window_bins=64),
    train=TrainConfig(
        epochs=3, batch_size=8, accumulate=1, base_learning_rate=FROM_SCRATCH, ssim_weight=0.1
    ),
    trials=2,
)
"""Without maps: a simulated genome, small bins that keep every ratio and cost little."""
REAL = Tune(train=TrainConfig(epochs=10, accumulate=1, base_learning_rate=FROM_SCRATCH), trials=2)
"""With maps: HiCFoundation's window, the report's batch; as short as a look on a laptop can be."""


def main() -> None:
    """Run the verb on the command line."""
    base = _defaults(sys.argv)

    def prepare(data: DataConfig = base.data, run: Run = base.run) -> None:
        """Cut windows of maps and genome into parquet shards; an interrupted run is finished."""
        prepare_shards(data, run)

    def embed(
        data: DataConfig = base.data, model: ModelConfig = base.model, run: Run = base.run
    ) -> None:
        """Run a frozen encoder once over all windows, as `train` and the search also do."""
        embed_windows(data, model, run)

    def train(
        data: DataConfig = base.data,
        model: ModelConfig = base.model,
        train: TrainConfig = base.train,
        run: Run = base.run,
    ) -> None:
        """Train one configuration at each gap: a search of one trial."""
        options = Tune(data=data, model=model, train=train, run=run, trials=1)
        search_cells(options, (model.sequence,))

    verbs: dict[str, Callable[..., Any]] = {
        "check": check,
        "simulate": simulate,
        "prepare": prepare,
        "embed": embed,
        "train": train,
        "compare": compare,
    }
    guarded(lambda: tyro.extras.subcommand_cli_from_dict(verbs, prog="hicray", config=(Flat,)))


def _defaults(words: list[str]) -> Tune:
    """Return the defaults for one's own maps, or for the simulation where none is given."""
    return REAL if any(word.split("=")[0] == "--contacts" for word in words) else SIMULATED


def guarded(work: Callable[[], Any]) -> None:
    """Run; what a user got wrong is one sentence and exit code 2, without a traceback."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        work()
    except UserError as error:
        sys.stderr.write(f"hicray: {error}\n")
        sys.exit(2)


def say(*lines: str) -> None:
    """Write result lines to standard output."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def tune_from_command_line(arguments: list[str] | None = None) -> None:
    """Parse the options of a search, whose defaults depend on whether maps are given, and run."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    guarded(lambda: tune(tyro.cli(Tune, default=_defaults(given), args=given, config=(Flat,))))


def check(data: DataConfig, model: ModelConfig) -> None:
    """Say what is wrong with maps, genome and split before hours are spent."""
    from hicray.maps.check import check_data, check_model
    from hicray.windows.plan import layout

    check_model(model)
    layout(data)
    _check_weights(model, data)
    say(*check_data(data), "nothing is wrong with them")


def simulate(
    out: Annotated[Path, tyro.conf.Positional], seed: int = 0, cell_lines: int = 1
) -> None:
    """Write a genome and maps whose fine structure is written in the DNA, with the truth.

    Args:
        out: Folder for genome.fa, the .mcool files and truth/.
        seed: The same seed gives the same files.
        cell_lines: 1 or 2; the second shares the DNA and differs in depth and strength.
    """
    from hicray.maps.simulate import CELL_LINES, SimulationConfig
    from hicray.maps.simulate import simulate as run

    if not 1 <= cell_lines <= len(CELL_LINES):
        raise UserError(f"{cell_lines} cell lines are not on offer; give 1 or {len(CELL_LINES)}")
    made = run(out, SimulationConfig(seed=seed), CELL_LINES[:cell_lines])
    say(f"genome {made.genome}", *(f"map    {path}" for path in made.contacts))
    say(f"truth  {made.truth}")


def prepare_shards(data: DataConfig, run: Run) -> tuple[Path, Any]:
    """Check the data set, cut it into shards, and return their folder and manifest."""
    from hicray import cluster

    data, storage = _resolve(data, run)
    cluster.connect()
    return _shards(data, storage)


def embed_windows(data: DataConfig, model: ModelConfig, run: Run) -> None:
    """Prepare, and run the frozen encoder once over all windows of every gap."""
    from hicray.maps.check import check_model

    if model.encoder != "frozen" or model.embeddings == "none":
        raise UserError(
            f"--encoder {model.encoder} --embeddings {model.embeddings} leaves nothing to embed; "
            "give --encoder frozen with --encoder-weights FILE, and --embeddings bf16 or fp32"
        )
    check_model(model)
    _check_weights(model, data)
    folder, manifest = prepare_shards(data, run)
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
    storage = search_cells(options, options.arms)
    compare(storage, options.run.tracking_uri)


def compare(storage: Path, tracking_uri: str = "", search: str | None = None) -> None:
    """Print and log seq vs noseq from MLflow: per gap, best trials beside the baselines.

    Args:
        storage: Folder of the search.
        tracking_uri: MLflow store or server; the SQLite file in the storage if not given.
        search: Run id of the search; the newest if not given.
    """
    from hicray.evaluation.report import compare as run
    from hicray.training import track

    store = _store(storage, tracking_uri)
    text = run(store, storage / "report", search)
    say("", text, "", f"report: {storage / 'report'}", track.ui_command(store.uri))


def search_cells(options: Tune, arms: tuple[Sequence, ...]) -> Path:
    """Prepare and search the given arms at every gap; return the storage folder."""
    from hicray.maps.check import check_model

    check_model(options.model)
    _check_weights(options.model, options.data)
    data, storage = _resolve(options.data, options.run)
    # What takes seconds to import comes after what can be refused at once.
    from hicray import cluster
    from hicray.training.trial import Resources
    from hicray.training.tune import SearchConfig, search

    run, workers = options.run, options.train.workers
    cluster.connect(num_cpus=int(workers * run.cpus_per_worker) + 1)
    resources = Resources(run.use_gpu, run.cpus_per_worker)
    cluster.require(workers, run.cpus_per_worker, run.use_gpu)
    store = _store(storage, run.tracking_uri)
    store.experiment()
    folder, manifest = _shards(data, storage)
    what = SearchConfig(
        model=options.model,
        train=options.train,
        sequences=arms,
        trials=options.trials,
        seed=options.search_seed,
    )
    search(what, folder, manifest, resources, store)
    return storage


def _check_weights(model: ModelConfig, data: DataConfig) -> None:
    if model.encoder != "scratch":
        from hicray.model.build import check_weights

        check_weights(model, window_bins=data.window_bins)


def _resolve(data: DataConfig, run: Run) -> tuple[DataConfig, Path]:
    """Check the data set, simulating one where no map is given, and name its storage."""
    from hicray.maps.check import check_data
    from hicray.windows.claim import plan_digest, refuse_other_plan
    from hicray.windows.plan import layout

    layout(data)
    if "://" in run.storage:
        raise UserError(f"--storage {run.storage} is a URI; give a folder that all nodes see")
    simulated = not data.contacts and not data.genome
    if simulated:
        storage = Path(run.storage or "runs/simulated")
        data = _simulated(data, storage / "simulation")
    else:
        stem = Path(data.contacts[0]).name.split(".")[0] if data.contacts else "maps"
        storage = Path(run.storage or f"runs/{stem}")
    say(*check_data(data))
    refuse_other_plan(storage / "shards", plan_digest(data))
    return data, storage.resolve()


def _simulated(data: DataConfig, folder: Path) -> DataConfig:
    from hicray.maps.simulate import SimulationConfig, default_split
    from hicray.maps.simulate import simulate as run

    # As many chromosomes as a search of ten minutes on two cores can learn from.
    config = SimulationConfig(bin_size=data.fine_bin_size, num_chromosomes=36)
    made = run(folder, config)
    contacts = tuple(str(path) for path in made.contacts)
    split = default_split(config)
    return replace(data, contacts=contacts, genome=str(made.genome), split=split)


def _shards(data: DataConfig, storage: Path) -> tuple[Path, Any]:
    from hicray.maps.bins import SPLIT_NAMES
    from hicray.windows.shards import prepare as run

    folder = storage / "shards"
    manifest = run(data, folder)
    counts = ", ".join(f"{manifest.num_windows(name)} {name}" for name in SPLIT_NAMES)
    dropped = sum(manifest.dropped.values())
    say(f"{folder}: {counts} windows ({dropped} left out as too little usable)")
    return folder, manifest


def _store(storage: Path, tracking_uri: str) -> Any:
    from hicray.training import track

    if not tracking_uri and not storage.exists():
        storage.mkdir(parents=True)
    return track.Store(tracking_uri or track.default_uri(storage), storage / "artifacts")
