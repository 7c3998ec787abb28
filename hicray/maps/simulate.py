"""A genome and its contact maps, whose fine structure is known and written in the DNA.

Anchors lie in random bins, each with an orientation. An instance of one motif marks each of them
in the DNA, on the + or the - strand. From the anchors come loops, stripes and insulation:

    log rate(i, j) = log depth - decay log(d + 1) + compartment c_i c_j
                     - insulation min(anchors between, 4) + structure(i, j) + v_i + v_j

with d = |j - i| in bins, c a compartment track that GC content follows, structure the loops and
stripes, v a visibility per bin. Counts are Poisson. All of it is a pure function of the
configuration: the maps are the same whether or not the DNA tells of them.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Float64, Int64
from tqdm import tqdm

from hicray.config import UserError, digest
from hicray.maps.bins import num_bins
from hicray.maps.contacts import ContactMap, genome_wide, write_cool, write_levels
from hicray.maps.dna_grammar import (
    Pwm,
    plant,
    plant_cut_sites,
    random_bases,
    random_pwm,
    sample_words,
    write_fasta,
)
from hicray.maps.genome import Codes

GAPS = (1, 2, 4)
"""Levels of each map, in units of its bin size."""
_VERSION = 1
"""Part of a simulation's identity: raise it when the same configuration gives other files."""
_GC = 0.45
"""Mean GC content."""
_MIN_BIN_SIZE = 64
"""In bp; holds the most cut sites that a bin is given."""
_MAX_INSULATING = 4
"""Anchors between two bins that insulate; further ones change nothing."""
_LOOP_BINS = range(3, 120)
"""Separations at which convergent anchors form a loop."""
_LOOP_WIDTH = 0.6
"""Standard deviation of a loop's spot, in bins."""
_SKIP = 0.5
"""What is left of a loop or stripe with each anchor that it passes."""
_MAX_STRUCTURE = 2.0
"""Largest log fold of loops and stripes together, at strength 1."""
_COMPARTMENT_BINS = (15, 60)
"""Shortest and longest compartment, in bins."""

Track = Float64[np.ndarray, " bins"]
Rates = Float64[np.ndarray, "bins bins"]


@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """What is simulated; strengths are natural logs of fold changes."""

    bin_size: int = 128
    """Of the finest level, in bp; 2 and 4 times that are written too."""
    num_chromosomes: int = 48
    chromosome_bins: int = 576
    """Bins of a chromosome, a multiple of 4; every third ends within its last bin, and every
    third within the bin before that, so that the last coarse bin is short of bins as well."""
    depth: float = 1_000.0
    """Mean count on the main diagonal, without any structure."""
    decay: float = 0.8
    """Exponent with which contacts fall with (separation in bins + 1)."""
    motif_length: int = 14
    """In bases."""
    motif_mutation: float = 0.03
    """Probability that a base of an instance is not the consensus."""
    anchor_density: float = 0.08
    """Share of the bins that hold an anchor."""
    insulation: float = 0.15
    """Lost with each anchor between two bins, up to 4 of them."""
    loop_strength: float = 2.0
    """Centre of a loop between neighbouring convergent anchors; halved by each one skipped."""
    stripe_strength: float = 1.2
    """Stripe from an anchor; halved by each opposite anchor that it passes."""
    compartment_strength: float = 0.2
    """Gained within a compartment, lost between two."""
    gc_coupling: float = 0.12
    """GC content of a compartment above (or below) the mean of 0.45."""
    visibility_sd: float = 0.1
    """Standard deviation of the bins' visibility, a bias like a real map's."""
    structure_in_dna: bool = True
    """Mark anchors by motifs and compartments by GC; False: same maps, DNA that tells nothing."""
    visibility_in_dna: bool = False
    """Write visibility as the number of cut sites of a bin (then one for all cell lines)."""
    seed: int = 0


@dataclass(frozen=True)
class CellLine:
    """A map of the common genome."""

    name: str
    depth: float = 1.0
    """Factor of the configuration's depth."""
    strength: float = 1.0
    """Factor of loops, stripes and insulation."""
    visibility_seed: int = 0
    """Cell lines with the same one share their visibility."""


@dataclass(frozen=True)
class Simulation:
    """The files of a finished simulation, and its truth."""

    folder: Path
    config: SimulationConfig
    cell_lines: tuple[CellLine, ...]

    @property
    def genome(self) -> Path:
        """FASTA."""
        return self.folder / "genome.fa"

    @property
    def contacts(self) -> list[Path]:
        """One .mcool per cell line."""
        return [self.folder / f"{cell.name}.mcool" for cell in self.cell_lines]

    @property
    def truth(self) -> Path:
        """Folder of what a model should find."""
        return self.folder / "truth"

    def motifs(self) -> pd.DataFrame:
        """Return chrom, start, end (bp) and strand of every planted motif."""
        return pd.read_csv(self.truth / "motifs.tsv", sep="\t")

    def loops(self) -> pd.DataFrame:
        """Return the anchors' bins of every loop and its strength before cell lines' factors."""
        return pd.read_csv(self.truth / "loops.bedpe", sep="\t")

    def boundaries(self) -> pd.DataFrame:
        """Return the bins (bp) that insulate, which are the anchors', with their strand."""
        return pd.read_csv(self.truth / "boundaries.tsv", sep="\t")

    def pwm(self) -> Pwm:
        """Return the motif's base probabilities by position, in the order A, C, G, T."""
        return pd.read_csv(self.truth / "pwm.tsv", sep="\t").to_numpy(dtype=np.float64)

    def visibility(self, chrom: str, cell: str) -> Track:
        """Return log visibility by bin; ``rates`` holds it, once for each axis."""
        table = pd.read_csv(self.truth / f"visibility_{cell}.tsv", sep="\t")
        return table.loc[table["chrom"] == chrom, "visibility"].to_numpy(dtype=np.float64)

    def rates(self, chrom: str, cell: str) -> Float32[np.ndarray, "bins bins"]:
        """Return the mean count of every pixel of a chromosome, symmetric."""
        rates: Float32[np.ndarray, "bins bins"] = np.load(self.truth / "rates" / cell / f"{chrom}.npy")
        return rates


class _Plan(NamedTuple):
    """What a chromosome is made of: bases in each bin, anchors (+1, -1, 0), compartments."""

    length: int
    filled: Int64[np.ndarray, " bins"]
    anchors: Int64[np.ndarray, " bins"]
    compartments: Track


def simulate(
    folder: Path, config: SimulationConfig, cell_lines: Sequence[CellLine] = (CellLine("cell_a"),)
) -> Simulation:
    """Write a genome, its contact maps and their truth; what is there already is taken as it is.

    Args:
        folder: Of this simulation alone; simulation.json is written last, so that a folder
            without it is unfinished and done anew.
        config: What to simulate.
        cell_lines: One map each, all of the same DNA.

    Raises:
        UserError: The configuration is impossible, or the folder holds something else.
    """
    _check(config, cell_lines)
    simulation = Simulation(folder, config, tuple(cell_lines))
    if _is_finished(simulation):
        return simulation
    plans = {chrom: _plan(config, chrom, size) for chrom, size in chromsizes(config).items()}
    pwm = random_pwm(_rng(config, "motif"), config.motif_length, config.motif_mutation)
    simulation.truth.mkdir(parents=True, exist_ok=True)
    _write_table(pd.DataFrame(pwm, columns=list("ACGT")), simulation.truth / "pwm.tsv")
    _write_genome(simulation, plans, pwm)
    _write_structure(simulation, plans)
    for cell in cell_lines:
        _write_map(simulation, plans, cell)
    _write_record(simulation)
    return simulation


def chromsizes(config: SimulationConfig) -> dict[str, int]:
    """Return the length of each chromosome, in bp."""
    size = config.bin_size
    missing = (0, size // 4, size + size // 2)
    return {
        f"chr{n + 1}": config.chromosome_bins * size - missing[n % 3]
        for n in range(config.num_chromosomes)
    }


def default_split(config: SimulationConfig) -> str:
    """Return 'val=...;test=...': a twelfth of the chromosomes and a sixth, one each at least."""
    chroms = list(chromsizes(config))
    num_test, num_val = (max(1, round(len(chroms) / part)) for part in (6, 12))
    val, test = chroms[-num_test - num_val : -num_test], chroms[-num_test:]
    return f"val={','.join(val)};test={','.join(test)}"


def _check(config: SimulationConfig, cell_lines: Sequence[CellLine]) -> None:
    if config.num_chromosomes < 3:
        raise UserError(
            f"{config.num_chromosomes} chromosomes cannot be split; simulate 3 or more, "
            "so that train, val and test have one each"
        )
    if config.chromosome_bins < 8 or config.chromosome_bins % GAPS[-1]:
        raise UserError(
            f"chromosomes of {config.chromosome_bins} bins do not fit; give a multiple of "
            f"{GAPS[-1]} (the largest gap), 8 at least"
        )
    smallest = max(_MIN_BIN_SIZE, config.motif_length)
    if config.bin_size < smallest:
        raise UserError(f"bins of {config.bin_size} bp are too small; give {smallest} bp or more")
    names = [cell.name for cell in cell_lines]
    if not names or len(set(names)) < len(names):
        raise UserError(f"cell lines {names} do not name one file each; give distinct names")


def _identity(simulation: Simulation) -> dict[str, Any]:
    cells = [asdict(cell) for cell in simulation.cell_lines]
    return {"version": _VERSION, "config": asdict(simulation.config), "cell_lines": cells}


def _is_finished(simulation: Simulation) -> bool:
    folder, record = simulation.folder, simulation.folder / "simulation.json"
    wanted = digest(_identity(simulation))
    if record.exists():
        found = json.loads(record.read_text()).get("digest")
        if found != wanted:
            raise UserError(
                f"{folder} holds simulation {found}, and these settings make {wanted}; "
                "a folder holds one: give another, or delete that one"
            )
        return True
    # The truth is written first: files of these names without it are someone else's.
    ours = (simulation.truth / "pwm.tsv").exists()
    taken = [path.name for path in (simulation.genome, *simulation.contacts) if path.exists()]
    if taken and not ours:
        raise UserError(
            f"{folder} has files that are no simulation's ({', '.join(taken)}) and would be "
            "overwritten; give a new folder"
        )
    return False


def _write_record(simulation: Simulation) -> None:
    identity = _identity(simulation)
    files = {
        "genome": simulation.genome.name,
        "contacts": [path.name for path in simulation.contacts],
        "truth": simulation.truth.name,
    }
    record = {"digest": digest(identity), **identity, "files": files}
    unfinished = simulation.folder / "simulation.unfinished.json"
    unfinished.write_text(json.dumps(record, indent=2) + "\n")
    unfinished.rename(simulation.folder / "simulation.json")
