"""The data set of a run without maps: a simulation of its own, made once in its storage."""

from dataclasses import replace
from pathlib import Path

from hicray.config import DataConfig
from hicray.io.copies import publish
from hicray.io.storage import Location
from hicray.simulation.simulate import SimulationConfig, default_split, simulate


def simulated_data(data: DataConfig, folder: Location) -> DataConfig:
    """Return a data set whose map and genome are simulated, of the given bin size, in a folder."""
    # As many chromosomes as a search of ten minutes on two cores can learn from.
    config = SimulationConfig(bin_size=data.fine_bin_size, num_chromosomes=36)
    # Maps are HDF5, which is written on a disk.
    here = folder if isinstance(folder, Path) else Path("runs/simulated/simulation").resolve()
    simulation = simulate(here, config)
    publish(here, folder)
    contacts = tuple(str(folder / path.name) for path in simulation.contacts)
    genome = str(folder / simulation.genome.name)
    return replace(data, contacts=contacts, genome=genome, split=default_split(config))
