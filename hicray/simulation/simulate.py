"""Simulated files to try everything on: a genome FASTA, its .mcool maps and the truth behind them.

``planted`` says what a simulation holds; here it is written, once, and read back.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64

from hicray.config import UserError, digest
from hicray.io.notes import refuse_others, write_json
from hicray.io.progress import tqdm
from hicray.io.storage import remove_leftovers, replaced
from hicray.maps.contacts import ContactMap
from hicray.maps.write import genome_wide, write_cool, write_levels
from hicray.simulation.planted import (
    CELL_LINES,
    CellLine,
    Plan,
    Pwm,
    SimulationConfig,
    Track,
    chromosome_dna,
    contact_rates,
    loop_strengths,
    plan_chromosome,
    random_numbers,
    random_pwm,
    visibility,
)

__all__ = ["CELL_LINES", "CellLine", "Simulation", "SimulationConfig", "chromsizes"]
__all__ += ["default_split", "simulate"]

FACTORS = (1, 2, 4)
"""Levels of each map, in units of its bin size."""
_VERSION = 1
"""Part of a simulation's identity: raise it when the same configuration gives other files."""
_MIN_BIN_SIZE = 64
"""In bp; holds the most cut sites that a bin is given."""
_BASES_PER_LINE = 80
_LETTERS = np.frombuffer(b"ACGTN", dtype=np.uint8)

Plans = Mapping[str, Plan]


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
        visibility: Track = np.load(self.truth / "rates" / cell / f"{chrom}.visibility.npy")
        return visibility

    def rates(self, chrom: str, cell: str) -> Float32[np.ndarray, "bins bins"]:
        """Return the mean count of every pixel of a chromosome, symmetric."""
        rates: Float32[np.ndarray, "bins bins"] = np.load(
            self.truth / "rates" / cell / f"{chrom}.npy"
        )
        return rates


def simulate(
    folder: Path, config: SimulationConfig, cell_lines: Sequence[CellLine] = CELL_LINES[:1]
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
    remove_leftovers(folder)
    plans = {c: plan_chromosome(config, c, size) for c, size in chromsizes(config).items()}
    simulation.truth.mkdir(parents=True, exist_ok=True)
    _write_structure(simulation, plans)
    _write_genome(simulation, plans)
    for cell in cell_lines:
        _write_map(simulation, plans, cell)
    _write_record(simulation)
    return simulation


def chromsizes(config: SimulationConfig) -> dict[str, int]:
    """Return the length of each chromosome, in bp."""
    size = config.bin_size
    # Whole; short within the last bin; without it, and short within the bin before.
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
    if config.chromosome_bins < 8 or config.chromosome_bins % FACTORS[-1]:
        raise UserError(
            f"chromosomes of {config.chromosome_bins} bins do not fit; give a multiple of "
            f"{FACTORS[-1]} (the largest gap), 8 at least"
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
    if refuse_others(
        record,
        digest(_identity(simulation)),
        problem="holds another simulation",
        differs="other settings",
        option="folder, or delete that one",
    ):
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


def _write_structure(simulation: Simulation, plans: Plans) -> None:
    config, truth = simulation.config, simulation.truth
    pwm = pd.DataFrame(random_pwm(config), columns=list("ACGT"))
    motifs = [_motifs(config, chrom, plan) for chrom, plan in plans.items()]
    loops = [_loops(config, chrom, plan) for chrom, plan in plans.items()]
    boundaries = [_boundaries(config, chrom, plan) for chrom, plan in plans.items()]
    _write_table(pwm, truth / "pwm.tsv")
    _write_table(
        pd.concat(motifs if config.structure_in_dna else [motifs[0][:0]]), truth / "motifs.tsv"
    )
    _write_table(pd.concat(loops), truth / "loops.bedpe")
    _write_table(pd.concat(boundaries), truth / "boundaries.tsv")


def _motifs(config: SimulationConfig, chrom: str, plan: Plan) -> pd.DataFrame:
    start, end = plan.starts, plan.starts + config.motif_length
    return pd.DataFrame({"chrom": chrom, "start": start, "end": end, "strand": _strands(plan)})


def _boundaries(config: SimulationConfig, chrom: str, plan: Plan) -> pd.DataFrame:
    bins = np.flatnonzero(plan.anchors)
    return pd.DataFrame({**_span(config, chrom, plan, bins), "strand": _strands(plan)})


def _loops(config: SimulationConfig, chrom: str, plan: Plan) -> pd.DataFrame:
    strengths = loop_strengths(config, plan)
    rows, cols = np.nonzero(strengths)
    left, right = (_span(config, chrom, plan, bins) for bins in (rows, cols))
    ends = {f"{k}1": v for k, v in left.items()} | {f"{k}2": v for k, v in right.items()}
    return pd.DataFrame({**ends, "strength": strengths[rows, cols]})


def _span(
    config: SimulationConfig, chrom: str, plan: Plan, bins: Int64[np.ndarray, " loci"]
) -> dict[str, Any]:
    start = bins * config.bin_size
    return {"chrom": chrom, "start": start, "end": start + plan.filled[bins]}


def _strands(plan: Plan) -> list[str]:
    return ["+" if anchor > 0 else "-" for anchor in plan.anchors[plan.anchors != 0]]


def _write_table(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, sep="\t", index=False)


def _write_genome(simulation: Simulation, plans: Plans) -> None:
    config, pwm = simulation.config, random_pwm(simulation.config)
    with replaced(simulation.genome) as path, path.open("w", newline="\n") as file:
        for chrom, plan in plans.items():
            letters = _LETTERS[chromosome_dna(config, chrom, plan, pwm)].tobytes().decode("ascii")
            starts = range(0, len(letters), _BASES_PER_LINE)
            lines = (letters[start : start + _BASES_PER_LINE] for start in starts)
            file.write(f">{chrom}\n" + "\n".join(lines) + "\n")


def _write_map(simulation: Simulation, plans: Plans, cell: CellLine) -> None:
    config, sizes = simulation.config, chromsizes(simulation.config)
    base = simulation.folder / f"{cell.name}.base.cool"
    (simulation.truth / "rates" / cell.name).mkdir(parents=True, exist_ok=True)
    tables = {chrom: _pixels(simulation, cell, chrom, plan) for chrom, plan in plans.items()}
    pixels = genome_wide(ContactMap(str(base), config.bin_size, sizes), tables)
    progress = tqdm(pixels, total=len(plans), desc=f"simulate {cell.name}", unit="chromosome")
    # As an iterator: a bar has a length, so that type checks in tests would take its first table.
    write_cool(base, sizes, config.bin_size, iter(progress))
    with replaced(simulation.folder / f"{cell.name}.mcool") as path:
        write_levels(base, path, [factor * config.bin_size for factor in FACTORS])
    base.unlink()


def _pixels(
    simulation: Simulation, cell: CellLine, chrom: str, plan: Plan
) -> Iterator[pd.DataFrame]:
    """Draw a chromosome's counts, and write down the rates and visibility behind them."""
    config = simulation.config
    v = visibility(config, cell, chrom, len(plan.filled))
    rates = contact_rates(config, cell, plan, v)
    folder = simulation.truth / "rates" / cell.name
    np.save(folder / f"{chrom}.npy", rates.astype(np.float32))
    np.save(folder / f"{chrom}.visibility.npy", v)
    rows, cols = np.triu_indices(len(v))
    counts = random_numbers(config, "counts", cell.name, chrom).poisson(rates[rows, cols])
    table = pd.DataFrame({"bin1_id": rows, "bin2_id": cols, "count": counts})
    yield table[counts > 0]


def _write_record(simulation: Simulation) -> None:
    identity = _identity(simulation)
    files = {
        "genome": simulation.genome.name,
        "contacts": [path.name for path in simulation.contacts],
        "truth": simulation.truth.name,
    }
    record = {"digest": digest(identity), **identity, "files": files}
    write_json(simulation.folder / "simulation.json", record)
