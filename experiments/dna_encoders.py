"""Would a better sequence encoder have helped? Every way to read DNA, and a measured track.

A tower is trained on half of the simulation's training chromosomes; frozen, it is run over the
genome once, and what it says of each bin is stored. On the other half all ways to read DNA are
then trained alike, with several seeds: none, composition, the report's pooled encoder, towers of
three depths, the stored embeddings, both together, and a track of the planted motif in place of
DNA and beside it. All are judged on chromosomes that nothing saw.

Command (two hours on 2 cores; a killed run goes on where it stopped):

    python experiments/dna_encoders.py

Expected: stored embeddings of the tower that learnt elsewhere gain at least nine tenths of what a
tower gains that is trained end to end; composition and the pooled encoder gain nothing; the track
gains, its bins in another order do not; DNA adds to the track, which does not tell the motif's
strand.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import tyro

from hicray.cli.data_set import prepare_shards
from hicray.cli.defaults import SIMULATED
from hicray.cli.guard import guarded, say
from hicray.comparison.arms import score_arms
from hicray.comparison.results import (
    BOTH,
    COMPOSITION,
    JUDGED,
    MIXED_TRACKS,
    NOSEQ,
    SEQ,
    TRACKS,
    GapResult,
)
from hicray.comparison.table import cell, render
from hicray.config import DataConfig, ModelConfig, Run, TrainConfig, TrialConfig
from hicray.dna_models import catalog
from hicray.dna_models.embed import Pass
from hicray.dna_models.options import EmbedDna
from hicray.metrics.paired import paired_difference
from hicray.metrics.scores import LABELS, OBJECTIVE
from hicray.model.checkpoint import read_progress
from hicray.simulation.occupancy import write_occupancy
from hicray.simulation.simulate import Simulation, SimulationConfig, simulate
from hicray.training.sweep import open_data, require_seeds, sweep
from hicray.windows.genome_tables import resolved
from hicray.windows.manifest import ShardSet
from hicray.windows.track_table import scaled
from hicray.wording import markdown_table

HALF, VALIDATED, JUDGED_ON = 20, 3, 12
"""Chromosomes of the simulation: those that train, a half each, and those that are held out."""
COARSE = 512
EMBEDDED, POOLED, ALL = "stored embeddings", "the report's pooled encoder", "tower and stored"
SHALLOW, DEEP = "tower, depth 1", "tower, depth 5"
CHROMOSOMES = 2 * HALF + VALIDATED + JUDGED_ON
_NAMES = [f"chr{number}" for number in range(1, CHROMOSOMES + 1)]
_HELD_OUT = _NAMES[2 * HALF :]
_REST = f"val={','.join(_HELD_OUT[:VALIDATED])};test={','.join(_HELD_OUT[VALIDATED:])}"
SPLITS = {
    "first half": f"train={','.join(_NAMES[:HALF])};{_REST}",
    "second half": f"train={','.join(_NAMES[HALF : 2 * HALF])};{_REST}",
}


@dataclass(frozen=True)
class Options:
    """What the experiment costs."""

    storage: str = "runs/dna_encoders"
    """Folder of the simulation, shards, checkpoints, table and report."""
    seeds: int = 3
    """Training seeds of each network (one for the pooled encoder, the slowest by far)."""
    epochs: int = 24
    """Epochs of each run at most."""
    patience: int = 6
    """Epochs in a row without a better validation score that end a run."""
    pooled: bool = True
    """Train the report's encoder too."""


def data_of(made: Simulation, half: str) -> DataConfig:
    """Return the data set that trains on a half; both are judged on the same chromosomes."""
    return replace(
        SIMULATED.data,
        contacts=tuple(map(str, made.contacts)),
        genome=str(made.genome),
        coarse_bin_sizes=(COARSE,),
        split=SPLITS[half],
        train_stride_bins=16,
    )


def train_config(options: Options, seed: int) -> TrainConfig:
    """Return how every network is trained."""
    return replace(
        SIMULATED.train,
        epochs=options.epochs,
        patience=options.patience,
        seed=seed,
        hidden_dna=0.5,
    )


def pretrain(options: Options, made: Simulation, storage: Path) -> Path:
    """Train a tower on the first half; return its checkpoint."""
    shards = prepare_shards(data_of(made, "first half"), Run(storage=str(storage / "first")))
    trial = TrialConfig(coarse_bin_size=COARSE, model=ModelConfig(), train=train_config(options, 0))
    folders = sweep({SEQ: trial}, open_data(shards, COARSE), storage / "pretrained")
    return folders[SEQ]


def embed(checkpoint: Path, made: Simulation, storage: Path) -> str:
    """Run the trained tower over the genome once; return the table's folder."""
    asked = EmbedDna(
        model=catalog.TOWER,
        weights=str(checkpoint),
        genome=str(made.genome),
        out=str(storage / "table"),
        bin_size=SIMULATED.data.fine_bin_size,
        precision="fp32",
    )
    Pass(asked, catalog.sizes(asked.model, asked.weights)[0]).run()
    return asked.out


def networks(table: str, track: Path, data: DataConfig) -> dict[str, ModelConfig]:
    """Return every way to read DNA, by the name of its row."""
    tower = ModelConfig()
    stored = resolved(replace(tower, dna="embeddings", dna_embeddings=table))
    measured = scaled(replace(tower, tracks=(f"motif={track}",)), data)
    return {
        NOSEQ: replace(tower, sequence="off"),
        COMPOSITION: replace(tower, sequence="composition"),
        POOLED: replace(tower, dna="pooled", fusion="tokens"),
        SHALLOW: replace(tower, depth=1),
        SEQ: tower,
        DEEP: replace(tower, depth=5),
        EMBEDDED: stored,
        ALL: replace(stored, dna="tower+embeddings"),
        TRACKS: replace(measured, sequence="tracks"),
        BOTH: replace(measured, sequence="on+tracks"),
    }


def train(
    options: Options, arms: dict[str, ModelConfig], shards: ShardSet, storage: Path
) -> dict[str, list[Path]]:
    """Train every network with every seed; return the checkpoints of each."""
    trials = {
        (name, seed): TrialConfig(
            coarse_bin_size=COARSE, model=model, train=train_config(options, seed)
        )
        for seed in range(options.seeds)
        for name, model in arms.items()
        if name != POOLED or (options.pooled and seed == 0)
    }
    bins = replace(arms[EMBEDDED], tracks=arms[TRACKS].tracks,
                   track_scales=arms[TRACKS].track_scales)  # fmt: skip
    data = open_data(shards, COARSE, bins=bins)
    folders = sweep(trials, data, storage / "networks")
    return {
        name: [folders[name, seed] for seed in range(options.seeds) if (name, seed) in folders]
        for name in arms
        if (name, 0) in folders
    }


def bytes_a_window(model: ModelConfig, manifest_bins: int, bin_size: int) -> int:
    """Return what a window brings beside its maps: packed bases, and values of bins."""
    bins = manifest_bins + 2 * model.flank_bins
    bases = bins * bin_size * 3 // 8 if model.reads_bases else 0
    stored = bins * 2 * 4 * model.embedding_channels if model.reads_embeddings else 0
    return bases + stored + (bins * 2 * 4 * 2 * len(model.tracks) if model.reads_tracks else 0)


def summary(
    result: GapResult,
    folders: dict[str, list[Path]],
    arms: dict[str, ModelConfig],
    shards: ShardSet,
) -> str:
    """Return a row for each way to read DNA: scores, gains over noseq, what it costs."""
    windows, manifest = shards.manifest.num_windows("train"), shards.manifest
    noseq = result.rows[NOSEQ]
    tower = paired_difference(result.rows[SEQ].frames, noseq.frames, OBJECTIVE).mean
    heads = ["reads", *(LABELS[score] for score in JUDGED), "gain over noseq, O/E Pearson"]
    heads += ["of the tower's", "ms a training window", "bytes a window"]
    rows = []
    for name in (*folders, MIXED_TRACKS):
        row = result.rows[name]
        gain = paired_difference(row.frames, noseq.frames, OBJECTIVE)
        cost = ["", ""]
        if name in folders:
            runs = [read_progress(folder).history for folder in folders[name]]
            spent = mean(epoch["seconds"] for run in runs for epoch in run) / windows * 1e3
            size = bytes_a_window(arms[name], manifest.window_bins, manifest.fine_bin_size)
            cost = [f"{spent:.1f}", f"{size:,}"]
        share = "" if name == NOSEQ else f"{gain.mean / tower:.0%}"
        scores = [cell(row, score) for score in JUDGED]
        rows.append([name, *scores, "" if name == NOSEQ else str(gain), share, *cost])
    return "\n".join(markdown_table(heads, rows))


def main(options: Options) -> None:
    require_seeds(options.seeds)
    storage = Path(options.storage)
    made = simulate(storage / "simulation", SimulationConfig(num_chromosomes=CHROMOSOMES))
    track = storage / "motif.bw"
    if not track.exists():
        write_occupancy(made, track)
    table = embed(pretrain(options, made, storage), made, storage)
    data = data_of(made, "second half")
    shards = prepare_shards(data, Run(storage=str(storage / "second")))
    arms = networks(table, track, data)
    folders = train(options, arms, shards, storage)
    result = score_arms(folders, shards, COARSE)
    text = f"{summary(result, folders, arms, shards)}\n\n{render([result], shards.manifest)}\n"
    (storage / "dna_encoders.md").write_text(text)
    say("", text)


if __name__ == "__main__":
    guarded(lambda: main(tyro.cli(Options)))
