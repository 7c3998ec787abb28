"""What people call from Python; ``import hicray`` offers each of these names.

Every function imports what it needs when it is called, so that opening a map does not load a
network, and opening a network does not load Ray. What cannot be done raises ``UserError``, a
sentence that names options as the command line does: ``--match-chr`` is ``match_chr`` here.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicray.config import DataConfig, Run, Tune
from hicray.config import UserError as UserError
from hicray.io.storage import locate
from hicray.maps.contacts import ContactMap as ContactMap
from hicray.maps.contacts import open_map as open_map
from hicray.maps.genome import Genome as Genome

if TYPE_CHECKING:
    import pandas as pd

    from hicray.predict.ablation import LocusAblation
    from hicray.predict.enhance import Done
    from hicray.predict.model import Model
    from hicray.simulation.simulate import Simulation, SimulationConfig
    from hicray.windows.manifest import Manifest


def load_model(
    where: str | Path,
    *,
    coarse_bin_size: int = 0,
    fine_bin_size: int = 0,
    tracking_uri: str = "",
    device: str = "cpu",
) -> "Model":
    """Open a trained network.

    Args:
        where: A trial's or a checkpoint's folder, the URI of a model in MLflow (``models:/...``,
            ``runs:/...``), or a published HiCFoundation file.
        coarse_bin_size: Bins of the maps that a published file is to read, in bp (the command
            line's --bin-size); other networks know theirs.
        fine_bin_size: Bins of the maps that a published file is to return, in bp.
        tracking_uri: MLflow store, for a URI; $MLFLOW_TRACKING_URI if not given.
        device: 'cpu', 'cuda', 'cuda:1', ...

    Raises:
        UserError: There is no such network, or it is not of these bin sizes.
    """
    from hicray.predict.model import Model
    from hicray.predict.network import BinSizes, find

    return Model(find(str(where), BinSizes(coarse_bin_size, fine_bin_size), tracking_uri), device)


def enhance(
    checkpoint: str | Path, contacts: str | Path, out: str | Path, **options: Any
) -> "Done":
    """Sharpen a whole map and write it as an .mcool, as `hicray enhance` does.

    Args:
        checkpoint: As for ``load_model``.
        contacts: The map to sharpen: .mcool, .cool, .hic or a cooler URI.
        out: File to write, ending with .mcool.
        options: Whatever else ``hicray.predict.request.Enhance`` has: ``genome``, ``chroms``,
            ``max_distance`` (bp), ``use_gpu``, ...

    Returns:
        Where it was written, whose scale the network took, and what it cost.

    Raises:
        UserError: The first thing that would stop the work.
    """
    from hicray.cli.predict import enhance_map
    from hicray.predict.request import Enhance

    if isinstance(chroms := options.get("chroms", ()), str):
        options["chroms"] = (chroms,)
    asked = Enhance(checkpoint=str(checkpoint), contacts=str(contacts), out=Path(out), **options)
    return enhance_map(asked)


def ablate(
    checkpoint: str | Path,
    contacts: str | Path,
    genome: str | Path,
    stretch: str,
    *,
    draws: int = 8,
    weights: str = "weight",
) -> "LocusAblation":
    """Replace a stretch of DNA by random bases, and return the window around it with and without.

    Args:
        checkpoint: As for ``load_model``, of a network that reads DNA.
        contacts: The map: .mcool, .cool, .hic or a cooler URI.
        genome: FASTA that the map was aligned to.
        stretch: ``chrom:start-end`` in bp, 0-based and half-open.
        draws: Random replacements whose predictions are averaged.
        weights: Column of balancing weights.

    Raises:
        UserError: The network reads no DNA, or the stretch does not fit a window.
    """
    model = load_model(checkpoint)
    coarse = open_map(contacts, model.trained.coarse_bin_size, weights_name=weights)
    return model.ablate(stretch, coarse, Genome(genome), draws=draws)


def evaluate(
    fine: str | Path,
    maps: Mapping[str, str | Path],
    *,
    chroms: str | Sequence[str] = (),
    bin_size: int = 0,
    window_bins: int = 224,
    weights: str = "weight",
) -> "pd.DataFrame":
    """Score maps of any tool against a fine map, all on the pixels that every map has.

    Args:
        fine: The truth: .cool, .hic, or one resolution of an .mcool (F.mcool::/resolutions/4000).
        maps: URI of each method's map, by the method's name, which holds no '='.
        chroms: Chromosomes to score, none of which may have been trained on; all of a window and
            more if not given. A warning names maps whose networks were trained on them.
        bin_size: In bp, where ``fine`` holds several.
        window_bins: Bins along each side of a window.
        weights: Column of balancing weights, where a map has it.

    Returns:
        A row for each method and chromosome, a column for each score, as
        ``hicray.evaluation.frame.frame`` names them.

    Raises:
        UserError: The maps do not fit each other.
    """
    from hicray.evaluation.compared import checked, long_chroms, open_compared
    from hicray.evaluation.frame import frame
    from hicray.evaluation.options import Evaluate
    from hicray.evaluation.score_maps import evaluate as run

    options = Evaluate(
        fine=str(fine),
        enhanced=tuple(f"{name}={uri}" for name, uri in maps.items()),
        chroms=(chroms,) if isinstance(chroms, str) else tuple(chroms),
        bin_size=bin_size,
        window_bins=window_bins,
        weights=weights,
    )
    table = frame(run(open_compared(checked(options if chroms else long_chroms(options)))))
    for leak in table.attrs["leaks"]:
        warnings.warn(leak, stacklevel=2)
    return table


def simulate(folder: str | Path, config: "SimulationConfig | None" = None) -> "Simulation":
    """Write a genome and a map whose fine structure is written in the DNA, with the truth.

    Args:
        folder: Of this simulation alone; one that is finished there is taken as it is.
        config: What to simulate; the default of `hicray simulate` if not given.

    Raises:
        UserError: The configuration is impossible, or the folder holds something else.
    """
    from hicray.simulation.simulate import SimulationConfig
    from hicray.simulation.simulate import simulate as run

    return run(Path(folder), config or SimulationConfig())


def prepare(data: DataConfig, storage: str) -> "Manifest":
    """Cut windows of maps and genome into parquet shards, in ``storage/shards``.

    Args:
        data: Maps, genome, bin sizes and split.
        storage: Folder, or s3://bucket/folder; an interrupted run there is finished.

    Returns:
        What the shard set holds.

    Raises:
        UserError: Something is wrong with the data set, or the folder holds another one.
    """
    from hicray.cli.data_set import prepare_shards

    return prepare_shards(data, Run(storage=storage)).manifest


def search(data: DataConfig, storage: str, options: Tune | None = None) -> "pd.DataFrame":
    """Search every arm at every gap with equal effort, and compare the best on test windows.

    Args:
        data: Maps, genome, bin sizes and split; ``SIMULATED.data`` for a simulation.
        storage: Folder, or s3://bucket/folder; an interrupted search there goes on.
        options: Arms, network, training and effort, of which data and storage are replaced; the
            defaults of `tune_encoder.py` if not given (``hicray.cli.defaults.REAL``, and
            ``SIMULATED`` without maps: what to start from, by ``dataclasses.replace``).

    Returns:
        As ``compare``.

    Raises:
        UserError: Something cannot be, and is refused before hours are spent.
    """
    from hicray.cli.defaults import REAL, SIMULATED
    from hicray.cli.search import tune
    from hicray.comparison.frame import frame

    options = options or (REAL if data.contacts else SIMULATED)
    run = replace(options.run, storage=storage)
    return frame(tune(replace(options, data=data, run=run)).results)


def compare(storage: str, *, tracking_uri: str = "", search: str | None = None) -> "pd.DataFrame":
    """Score the best trials of a search beside baselines and controls on the test windows.

    Args:
        storage: Folder of the search, or s3://bucket/folder; the page goes to ``report`` in it.
        tracking_uri: MLflow store or server; $MLFLOW_TRACKING_URI, or the SQLite file in the
            storage, if not given.
        search: Run id of the search; the storage's own that was run last if not given.

    Returns:
        A row for each gap and method, columns as ``hicray.comparison.frame.frame`` names them.

    Raises:
        UserError: There is no such search.
    """
    from hicray.comparison.frame import frame
    from hicray.comparison.report import compare as run
    from hicray.tracking import track

    location = locate(storage)
    store = track.open_store(location, tracking_uri, reading=True)
    return frame(run(store, location, search).results)
