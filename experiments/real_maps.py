"""Arms of equal effort on a real map, with several seeds: what beats the filters, what DNA adds.

Each arm trains with the defaults of a search (stride, epochs and patience by the number of
windows), without one; rows, intervals and the verdict are those of `hicray compare`.

Command (yeast in G1, an hour on 2 cores; a killed run goes on where it stopped):

    python experiments/real_maps.py --contacts scer_w303_g1.mcool --genome sacCer3.fa.gz \
        --fine-bin-size 2000 --coarse-bin-sizes 4000 8000 --window-bins 64 \
        --split "val=chrII,chrXI;test=chrIV,chrVII,chrXIII,chrXV" --storage runs/yeast

Expected: noseq beats every filter, by little on sparse maps; what DNA adds, if anything, is small.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro

from hicray.cli.data_set import checked, prepare_shards
from hicray.cli.defaults import REAL
from hicray.cli.guard import guarded, say
from hicray.cli.main import Flat
from hicray.comparison.arms import score_arms
from hicray.comparison.learning import learnt
from hicray.comparison.report import write
from hicray.comparison.results import GapResult
from hicray.config import DataConfig, ModelConfig, Run, SequenceMode, TrainConfig, TrialConfig
from hicray.maps.check import require_genome
from hicray.training.effort import described, fitted
from hicray.training.space import started
from hicray.training.sweep import open_data, require_seeds, sweep
from hicray.training.trial import arm
from hicray.windows.manifest import ShardSet
from hicray.windows.track_table import require_tracks, scaled


@dataclass(frozen=True, kw_only=True)
class Options:
    """A map and how it is trained on."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = REAL.train
    arms: tuple[SequenceMode, ...] = ("off", "on")
    """As for a search."""
    seeds: int = 3
    """Training seeds of each arm."""
    storage: str = "runs/real_map"
    """Folder of shards, checkpoints and the report."""


def train(options: Options, shards: ShardSet, size: int) -> dict[str, list[Path]]:
    """Train every arm with every seed at one gap; return the checkpoints of each arm."""
    model = scaled(started(checked(options.model, options.data), options.data), options.data)
    reads_dna = any(replace(model, sequence=own).reads_dna for own in options.arms)
    data = open_data(shards, size, reads_dna=reads_dna, bins=model)
    trials = {
        (own, seed): TrialConfig(
            coarse_bin_size=size,
            model=replace(model, sequence=own),
            train=replace(options.train, seed=seed),
        )
        for seed in range(options.seeds)
        for own in options.arms
    }
    folders = sweep(trials, data, Path(options.storage) / f"bins_{size}")
    return {
        arm(trials[own, 0]): [folders[own, seed] for seed in range(options.seeds)]
        for own in options.arms
    }


def judged(folders: dict[str, list[Path]], shards: ShardSet, size: int) -> GapResult:
    """Score all rows of one gap on the test windows."""
    result = score_arms(folders, shards, size)
    return replace(result, learning={name: [*map(learnt, own)] for name, own in folders.items()})


def main(options: Options) -> None:
    """Train and judge every arm at every gap."""
    require_seeds(options.seeds)
    require_genome(options.data, options.arms)
    require_tracks(options.model, options.arms)
    shards = prepare_shards(options.data, Run(storage=options.storage))
    windows = shards.manifest.num_windows("train")
    options = replace(options, train=fitted(options.train, windows))
    say(described(options.train, windows))
    results = [
        judged(train(options, shards, size), shards, size)
        for size in shards.manifest.coarse_bin_sizes
    ]
    out = Path(options.storage) / "report"
    text, _ = write(results, shards.manifest, out)
    say("", text, "", f"page: {out / 'compare.html'}")


if __name__ == "__main__":
    guarded(lambda: main(tyro.cli(Options, config=(Flat,))))
