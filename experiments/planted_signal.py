"""The positive control: DNA decides the fine structure, so a platform that works must show it.

On the simulated map loops, stripes and domains are written in the DNA by one motif, and the coarse
map only hints at them. Every arm is trained alike, with several seeds, and judged on chromosomes
that nothing saw. Beside it stand two more simulations: one whose visibility (a bias, which
balancing removes) is written in the DNA but whose structure is not, where nothing may be gained;
and one without stripes, whose loops alone are written in the DNA.

Command (on 2 cores; a killed run goes on where it stopped; see LOG.md for what it took):

    python experiments/planted_signal.py

Expected: at the 4x gap seq beats noseq and blank, with intervals that exclude zero, and gains more
than at 2x; shuffled or another locus' DNA gives nothing, nor does training on another locus' DNA,
nor the report's arrangement (one pooled embedding that joins as a token); nor anything in the
negative control. The truth of the simulation is used for judging alone.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import tyro

from hicray.cli import SIMULATED, guarded
from hicray.config import DataConfig, ModelConfig, TrialConfig
from hicray.jobs import Run, prepare_shards
from hicray.maps.genome import read_packed
from hicray.maps.simulate import Simulation, SimulationConfig, default_split, simulate
from hicray.training.data import Data
from hicray.training.sweep import sweep
from hicray.training.tune import SEARCHED
from hicray.windows.manifest import GENOME, Manifest
from hicray.windows.stream import open_windows

CHROMOSOMES = 36
TOKENS, REPORT = "tower, tokens alone", "the report's (pooled, tokens alone)"
CONTROLS: dict[str, ModelConfig] = {
    "noseq": ModelConfig(sequence="off"),
    "blank": ModelConfig(sequence="blank"),
    "seq": ModelConfig(),
}
FULL: dict[str, ModelConfig] = CONTROLS | {
    "composition": ModelConfig(sequence="composition"),
    "elsewhere": ModelConfig(sequence="elsewhere"),
    TOKENS: ModelConfig(fusion="tokens"),
    REPORT: ModelConfig(dna="pooled", fusion="tokens"),
}
PLANTED, NEGATIVE, LOOPS = "planted", "negative", "loops"
SIMULATIONS = {
    PLANTED: SimulationConfig(num_chromosomes=CHROMOSOMES),
    NEGATIVE: SimulationConfig(
        num_chromosomes=CHROMOSOMES, structure_in_dna=False, visibility_in_dna=True
    ),
    LOOPS: SimulationConfig(num_chromosomes=CHROMOSOMES, stripe_strength=0.0),
}
ARMS: dict[tuple[str, int], dict[str, ModelConfig]] = {
    (PLANTED, 4): FULL,
    (PLANTED, 2): CONTROLS,
    (NEGATIVE, 4): CONTROLS,
    (LOOPS, 4): CONTROLS,
}
"""By simulation and gap."""


@dataclass(frozen=True)
class Options:
    """What the control costs."""

    storage: str = "runs/planted_signal"
    """Folder of simulations, shards, checkpoints and the report."""
    seeds: int = 3
    """Training seeds of each arm (one for the pooled encoder, the slowest by far)."""
    epochs: int = 4
    """Epochs of each run."""


@dataclass(frozen=True)
class Case:
    """One simulation, cut into shards."""

    simulation: Simulation
    folder: Path
    manifest: Manifest


def open_case(name: str, options: Options) -> Case:
    """Simulate and prepare, or take what is there."""
    storage, config = Path(options.storage) / name, SIMULATIONS[name]
    made = simulate(storage / "simulation", config)
    data: DataConfig = replace(
        SIMULATED.data,
        contacts=tuple(map(str, made.contacts)),
        genome=str(made.genome),
        split=default_split(config),
    )
    folder, manifest = prepare_shards(data, Run(storage=str(storage)))
    return Case(made, folder, manifest)


def train(case: Case, gap: int, arms: dict[str, ModelConfig], options: Options) -> Any:
    """Train every arm with every seed; return the checkpoints of each arm."""
    size = gap * case.manifest.fine_bin_size
    sets = [open_windows(case.folder, case.manifest, split, size) for split in SEARCHED]
    data = Data(case.manifest, sets[0], sets[1], ray.put(read_packed(case.folder / GENOME)))
    trials = {
        (arm, seed): TrialConfig(
            coarse_bin_size=size,
            model=model,
            train=replace(SIMULATED.train, epochs=options.epochs, seed=seed),
        )
        for seed in range(options.seeds)
        for arm, model in arms.items()
        if seed == 0 or arm != REPORT
    }
    places = sweep(trials, data, case.folder.parent / f"gap_{gap}")
    return {arm: [place for (own, _), place in places.items() if own == arm] for arm in arms}


def main(options: Options) -> None:
    for (name, gap), arms in ARMS.items():
        train(open_case(name, options), gap, arms, options)


if __name__ == "__main__":
    guarded(lambda: main(tyro.cli(Options)))
