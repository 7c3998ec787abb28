"""Units of a map predicted by Ray Data's actors, on one machine or many."""

import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import ray.data
import torch

from hicray.cluster import connection
from hicray.predict.locus import MapFacts
from hicray.predict.tiler import Blended, Job, Tiler, Unit


def on_ray(job: Job, facts: MapFacts, units: list[Unit]) -> Iterator[Blended]:
    """Predict units by a pool of actors; results come in the order of the units.

    Args:
        job: What is enhanced with what.
        facts: Of the whole map.
        units: In the order in which results are wanted.
    """
    pool = connection.pool(len(units), use_gpu=job.use_gpu)
    items = [{"index": index} for index in range(len(units))]
    table = ray.data.from_items(items, override_num_blocks=len(items)).map(
        _Actor,
        fn_constructor_args=(job, facts, units, pool.cpus),
        compute=ray.data.ActorPoolStrategy(size=pool.size),
        num_cpus=pool.cpus,
        num_gpus=1 if job.use_gpu else 0,
    )
    # Else chromosomes would overlap, and more than one be held.
    table.context.execution_options.preserve_order = True
    began = time.time()
    for row in table.iter_rows():
        # Sums and weights as bytes of float64: rows of one table differ in shape.
        sums = np.frombuffer(row["sums"]).reshape(2, row["held"], -1)
        unit = units[row["index"]]
        seconds = json.loads(row["seconds"])
        if opened := row["opened_at"]:
            seconds["start-up"] = opened - began
        yield Blended(unit, sums, row["tiles"], seconds, row["peak_bytes"])


class _Actor:
    """A Tiler that takes its units by their index, and answers in plain columns."""

    def __init__(self, job: Job, facts: MapFacts, units: list[Unit], threads: int) -> None:
        torch.set_num_threads(threads)
        self.tiler, self.units = Tiler(job, facts), units
        self.opened_at = time.time()

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Predict one unit."""
        blended = self.tiler(self.units[item["index"]])
        opened_at, self.opened_at = self.opened_at, 0.0
        return {
            "index": item["index"],
            "sums": blended.sums.tobytes(),
            "held": blended.sums.shape[1],
            "tiles": blended.tiles,
            "seconds": json.dumps(blended.seconds),
            "peak_bytes": blended.peak_bytes,
            "opened_at": opened_at,  # 0 but for its first unit
        }
