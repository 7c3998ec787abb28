"""Shards and windows in this process alone: what Ray would deal out is done in a row."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import ray

from hicray.config import DataConfig
from hicray.maps.genome import read_packed
from hicray.training.data import Data
from hicray.windows import shards
from hicray.windows.manifest import GENOME, Manifest, ShardSet
from hicray.windows.stream import Blocks, columns

COARSE = 512


def prepare_alone(config: DataConfig, folder: Path) -> Manifest:
    """Make a shard set with the tasks' own code, one task after another."""

    def in_a_row(_name: str, _unit: str, items: list[Any], work: Callable[[Any], Any]) -> list[Any]:
        return [json.loads(json.dumps(work(item))) for item in items]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_run", in_a_row)
        return shards.prepare(config, folder)


@pytest.fixture(scope="session")
def alone_shards(tiny_data: DataConfig, tmp_path_factory) -> ShardSet:
    """The shard set of the small simulation, made without Ray."""
    folder = tmp_path_factory.mktemp("alone")
    return ShardSet(folder, prepare_alone(tiny_data, folder))


def as_references(patch: pytest.MonkeyPatch) -> None:
    """Let things themselves stand for references to them in Ray's object store."""
    patch.setattr(ray, "get", lambda reference: reference)


def data_alone(shard_set: ShardSet, coarse: int = COARSE) -> Data:
    """Return windows and genome that are held here; needs ``as_references``."""
    folder, manifest = shard_set

    def held(split: str) -> Blocks:
        files = [folder / shard.file for shard in manifest.files(split)]
        return Blocks([pq.read_table(file, columns=columns(coarse)) for file in files],
                      manifest.num_windows(split))  # fmt: skip

    return Data(manifest, held("train"), held("val"), read_packed(folder / GENOME))


@pytest.fixture
def alone(alone_shards: ShardSet, monkeypatch: pytest.MonkeyPatch) -> Data:
    """The windows and the genome of the small simulation, without Ray."""
    as_references(monkeypatch)
    return data_alone(alone_shards)
