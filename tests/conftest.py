"""What many tests share: a random generator, a small simulated data set, one local Ray."""

from collections.abc import Iterator

import numpy as np
import pytest
import ray
import torch
from hypothesis import settings

from hicray.cluster import connection
from hicray.config import DataConfig
from hicray.simulation.simulate import Simulation, SimulationConfig, simulate
from hicray.windows.manifest import ShardSet
from hicray.windows.shards import prepare

pytest_plugins = ["tests.alone", "tests.command_line", "tests.buckets"]
torch.set_num_threads(1)
# Machines that others use, too, take longer now and then.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that share this process's Ray: `make test` runs them beside all others.

    Two searches start a Ray of their own: the killed one takes as long as half of all others, and
    the one that is refitted is made here.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "refitted" in fixtures or ("local_ray" in fixtures and "searched" not in fixtures):
            item.add_marker(pytest.mark.ray)
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(1500))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def tiny_simulation(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Six chromosomes of 200 bins of 128 bp, with levels of 128, 256 and 512 bp."""
    config = SimulationConfig(num_chromosomes=6, chromosome_bins=200)
    return simulate(tmp_path_factory.mktemp("simulation"), config)


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One Ray for the whole session: starting one takes seconds."""
    connection.connect(num_cpus=3)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def tiny_data(tiny_simulation: Simulation) -> DataConfig:
    """The small simulation as a data set: gaps 2 and 4, windows of 64 bins."""
    return DataConfig(
        contacts=tuple(map(str, tiny_simulation.contacts)),
        genome=str(tiny_simulation.genome),
        fine_bin_size=128,
        coarse_bin_sizes=(256, 512),
        window_bins=64,
        train_stride_bins=16,
        split="val=chr5;test=chr6",
    )


@pytest.fixture(scope="session")
def tiny_shards(
    tiny_data: DataConfig, tmp_path_factory: pytest.TempPathFactory, local_ray: None
) -> ShardSet:
    """The shard set of the small simulation."""
    folder = tmp_path_factory.mktemp("shards")
    return ShardSet(folder, prepare(tiny_data, folder))
