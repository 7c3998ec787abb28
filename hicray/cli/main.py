"""The program ``hicray``: its verbs, and where each one's options come from."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from hicray import __version__
from hicray.cli.check import check
from hicray.cli.compare import compare
from hicray.cli.data_set import prepare_shards
from hicray.cli.defaults import defaults
from hicray.cli.embed import embed_windows
from hicray.cli.embed_dna import embed_dna
from hicray.cli.evaluate import baselines, evaluate
from hicray.cli.guard import guarded, say
from hicray.cli.predict import ablate, enhance
from hicray.cli.search import search_cells, tune
from hicray.config import DataConfig, ModelConfig, Run, TrainConfig, Tune, UserError
from hicray.io.storage import locate

Flat: Any = tyro.conf.OmitArgPrefixes


def main() -> None:
    """Run the verb on the command line."""
    if sys.argv[1:] == ["--version"]:
        guarded(lambda: say(f"hicray {__version__}"))
        return
    verbs: dict[str, Callable[..., Any]] = {
        "check": check,
        "simulate": simulate,
        **_of_data_sets(defaults_of(sys.argv[1:])),
        "embed-dna": embed_dna,
        "compare": compare_arms,
        "enhance": enhance,
        "ablate": ablate,
        "evaluate": evaluate,
        "baselines": baselines,
    }
    guarded(lambda: tyro.extras.subcommand_cli_from_dict(verbs, prog="hicray", config=(Flat,)))


@dataclass(frozen=True)
class _Given:
    """The options that defaults of others depend on."""

    contacts: tuple[str, ...] | None = None
    encoder_weights: str = ""


def defaults_of(words: list[str]) -> Tune:
    """Return what is taken where these words of the command line say nothing."""
    # The verb's own parser needs its defaults first; this one leaves all other words alone.
    given, _ = tyro.cli(_Given, args=words, return_unknown_args=True, add_help=False)
    return defaults(
        own_maps=given.contacts is not None, published_weights=bool(given.encoder_weights)
    )


def _of_data_sets(base: Tune) -> dict[str, Callable[..., Any]]:
    """Return the verbs that cut or train, whose defaults are a search's."""

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

    return {"prepare": prepare, "embed": embed, "train": train}


def compare_arms(
    storage: str, tracking_uri: str = "", search: str | None = None, use_gpu: bool = False
) -> None:
    """Print and log seq vs noseq from MLflow: per gap, best trials beside the baselines.

    Args:
        storage: Folder of the search, or s3://bucket/folder.
        tracking_uri: MLflow store or server; if not given, $MLFLOW_TRACKING_URI or the SQLite file
            in the storage.
        search: Run id of the search; the storage's own that was run last if not given.
        use_gpu: Score on a GPU of the cluster.
    """
    compare(locate(storage), tracking_uri, search, use_gpu=use_gpu)


def tune_from_command_line(arguments: list[str] | None = None) -> None:
    """Parse the options of a search, whose defaults depend on whether maps are given, and run."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    guarded(lambda: tune(tyro.cli(Tune, default=defaults_of(given), args=given, config=(Flat,))))


def simulate(
    out: Annotated[Path, tyro.conf.Positional], seed: int = 0, cell_lines: int = 1
) -> None:
    """Write a genome and maps whose fine structure is written in the DNA, with the truth.

    Args:
        out: Folder for genome.fa, the .mcool files and truth/.
        seed: The same seed gives the same files.
        cell_lines: 1 or 2; the second shares the DNA and differs in depth and strength.
    """
    from hicray.simulation.simulate import CELL_LINES, SimulationConfig
    from hicray.simulation.simulate import simulate as run

    if not 1 <= cell_lines <= len(CELL_LINES):
        raise UserError(f"{cell_lines} cell lines are not on offer; give 1 or {len(CELL_LINES)}")
    made = run(out, SimulationConfig(seed=seed), CELL_LINES[:cell_lines])
    say(f"genome {made.genome}", *(f"map    {path}" for path in made.contacts))
    say(f"truth  {made.truth}")
