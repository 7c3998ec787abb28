"""``hicray <verb>``: reads options and hands them to ``jobs``.

Heavy libraries are imported by the verb that needs them, so that ``--help`` answers at once.
"""

import errno
import logging
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import tyro

from hicray import __version__
from hicray.config import DataConfig, ModelConfig, Run, TrainConfig, Tune, UserError
from hicray.evaluate.options import Baselines, Evaluate
from hicray.io.storage import locate
from hicray.jobs import (
    ablate,
    baselines,
    checked,
    compare,
    embed_windows,
    enhance,
    evaluate,
    prepare_shards,
    say,
    search_cells,
    tune,
)
from hicray.predict.request import Ablate, Enhance
from hicray.wording import scrubbed

_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO})
"""What a disk may have against being written."""
_STDOUT = 1
Flat: Any = tyro.conf.OmitArgPrefixes
PUBLISHED = TrainConfig().base_learning_rate
FROM_SCRATCH = 0.128
"""Base learning rate of the tiny network without weights."""
SIMULATED = Tune(
    data=DataConfig(fine_bin_size=128, coarse_bin_sizes=(256, 512), window_bins=64),
    # Five epochs learn nothing by heart; with half of its DNA hidden seq would not find it.
    train=TrainConfig(
        epochs=5,
        batch_size=8,
        accumulate=1,
        base_learning_rate=FROM_SCRATCH,
        ssim_weight=0.1,
        hidden_dna=0.0,
    ),
    trials=2,
)
"""Without maps: a simulated genome, small bins that keep every ratio and cost little."""
REAL = Tune(
    train=TrainConfig(
        epochs=0, batch_size=8, accumulate=1, base_learning_rate=FROM_SCRATCH, ssim_weight=0.1
    ),
    trials=2,
)
"""With maps: HiCFoundation's window, and as many epochs as their windows ask for."""


def main() -> None:
    """Run the verb on the command line."""
    if sys.argv[1:] == ["--version"]:
        guarded(lambda: say(f"hicray {__version__}"))
        return
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

    def score_maps(options: Evaluate) -> None:
        """Score maps against a fine map: windows, distances, insulation, boundaries, decay."""
        evaluate(options)

    def write_baselines(options: Baselines) -> None:
        """Write what a model has to beat as maps: upsampled, filters, by distance, half reads."""
        baselines(options)

    def compare_arms(
        storage: str, tracking_uri: str = "", search: str | None = None, use_gpu: bool = False
    ) -> None:
        """Print and log seq vs noseq from MLflow: per gap, best trials beside the baselines.

        Args:
            storage: Folder of the search, or s3://bucket/folder.
            tracking_uri: MLflow store or server; if not given, $MLFLOW_TRACKING_URI or the SQLite
                file in the storage.
            search: Run id of the search; the storage's own that was run last if not given.
            use_gpu: Score on a GPU of the cluster.
        """
        compare(locate(storage), tracking_uri, search, use_gpu=use_gpu)

    verbs: dict[str, Callable[..., Any]] = {
        "check": check,
        "simulate": simulate,
        "prepare": prepare,
        "embed": embed,
        "train": train,
        "compare": compare_arms,
        "enhance": enhance_map,
        "ablate": ablate_dna,
        "evaluate": score_maps,
        "baselines": write_baselines,
    }
    guarded(lambda: tyro.extras.subcommand_cli_from_dict(verbs, prog="hicray", config=(Flat,)))


def _defaults(words: list[str]) -> Tune:
    """Return the defaults for one's own maps, or for the simulation where none is given.

    With published weights, the learning rate is that of tuning them.
    """
    options = [word for given in words for word in given.split("=")]
    base = REAL if "--contacts" in options else SIMULATED
    if "--encoder-weights" not in options:
        return base
    return replace(base, train=replace(base.train, base_learning_rate=PUBLISHED))


def guarded(work: Callable[[], Any]) -> None:
    """Run; what a user can mend is one sentence and exit code 2, without a traceback.

    So is an interruption, with the shell's code for it. A reader that is gone, as that of
    ``| head``, ends it quietly, as it ends the shell's own programs.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    sys.excepthook = _trace
    try:
        try:
            work()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _unread():
            raise
        # Python would write what is left once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
        sys.exit(128 + signal.SIGPIPE)
    except (UserError, OSError) as error:
        # What a Ray task raised says its traceback too.
        own = getattr(error, "cause", error)
        if isinstance(own, OSError) and own.errno not in _DISK:
            raise
        more = "; mend that and run the same command, which goes on from what is there"
        sentence = f"hicray: {own}{more if isinstance(own, OSError) else ''}"
        sys.stderr.write(f"{scrubbed(sentence)}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would leave Ray behind
        if "hicray.cluster" in sys.modules:
            sys.modules["hicray.cluster"].leave()
        sys.stderr.write("\nhicray: interrupted; the same command goes on from what is finished\n")
        sys.exit(130)


def _unread() -> bool:
    """Return whether what is written to standard output has no reader."""
    standard = select.poll()
    standard.register(_STDOUT, 0)
    return any(event & select.POLLERR for _, event in standard.poll(0))


def _trace(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Write a traceback of what nobody foresaw, without the secrets of its addresses."""
    sys.stderr.write(scrubbed("".join(traceback.format_exception(kind, error, trace))))


def tune_from_command_line(arguments: list[str] | None = None) -> None:
    """Parse the options of a search, whose defaults depend on whether maps are given, and run."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    guarded(lambda: tune(tyro.cli(Tune, default=_defaults(given), args=given, config=(Flat,))))


def check(data: DataConfig, model: ModelConfig) -> None:
    """Say what is wrong with maps, genome and split before hours are spent."""
    from hicray.compare.foreseen import check_data
    from hicray.maps.check import require_genome

    require_genome(data, (model.sequence,))
    checked(model, data)
    say(*check_data(data), "nothing is wrong with them")


def enhance_map(request: Enhance) -> None:
    """Sharpen a whole map at the fine bin size, and write it as an .mcool for HiGlass.

    An absent pixel of the result is a 0. Chromosomes that an interrupted run finished are kept.
    """
    enhance(request)


def ablate_dna(request: Ablate) -> None:
    """Draw what replacing a stretch of DNA by random bases does to the map around it."""
    ablate(request)


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
