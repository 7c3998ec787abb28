"""The Ray Data job of a pass: actors that hold the model, a driver that writes in order."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import ray.data
import torch
from jaxtyping import Shaped

from hicray.cluster import connection
from hicray.dna_models import catalog
from hicray.dna_models.binned import Stretch, embed_stretch, shuffled
from hicray.dna_models.options import EmbedDna
from hicray.io.progress import tqdm
from hicray.io.storage import Location
from hicray.maps.genome import Genome, PackedSequence, pack
from hicray.windows.bin_table import STRANDS, as_stored, stored_kind, write_chrom


class _Job(NamedTuple):
    """What every actor of a pass knows."""

    options: EmbedDna
    cpus: int


def run(
    options: EmbedDna,
    channels: int,
    pieces: Mapping[str, list[Stretch]],
    targets: Mapping[str, Location],
) -> None:
    """Embed chromosomes and write their files.

    Args:
        options: What is embedded, with full paths.
        channels: Of the model.
        pieces: Stretches of each chromosome, in order.
        targets: File of each chromosome.

    Raises:
        UserError: There is no GPU where one is asked for.
    """
    stretches = [stretch for chrom in targets for stretch in pieces[chrom]]
    connection.connect()
    connection.require(1, 1.0, options.use_gpu)
    rows = iter(_embedded(options, stretches).iter_rows())
    total = sum(stretch.end_bin - stretch.first_bin for stretch in stretches)
    kind = stored_kind(options.precision)
    with tqdm(total=total, desc=f"embed {options.model}", unit="bin") as bar:
        for chrom, target in targets.items():
            with write_chrom(target, channels, options.precision) as write:
                for _ in pieces[chrom]:
                    stored = np.frombuffer(next(rows)["values"], dtype=kind)
                    values: Shaped[np.ndarray, "strands bins channels"] = stored.reshape(
                        len(STRANDS), -1, channels
                    )
                    write(values)
                    bar.update(values.shape[1])


def _embedded(options: EmbedDna, stretches: list[Stretch]) -> ray.data.Dataset:
    pool = connection.pool(len(stretches), use_gpu=options.use_gpu)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.print_on_execution_start = False
    units = [stretch._asdict() for stretch in stretches]
    return ray.data.from_items(units, override_num_blocks=len(units)).map(
        _Embedder,
        fn_constructor_args=(_Job(options, pool.cpus),),
        compute=ray.data.ActorPoolStrategy(size=pool.size),
        num_cpus=pool.cpus,
        num_gpus=1 if options.use_gpu else 0,
    )


class _Embedder:
    """One actor: the model, and the chromosome that it read last."""

    def __init__(self, job: _Job) -> None:
        torch.set_num_threads(job.cpus)
        self.options = job.options
        self.device = torch.device("cuda" if job.options.use_gpu else "cpu")
        self.model = catalog.open_model(job.options.model, job.options.weights, self.device)
        self.genome = Genome(job.options.genome)
        self.last: tuple[str, PackedSequence] | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a stretch's embeddings, as they are stored."""
        stretch = Stretch(**row)
        values = embed_stretch(
            self.model,
            self._sequence(stretch.chrom),
            stretch,
            self.options.bin_size,
            batch_size=self.options.batch_size,
            device=self.device,
        )
        return {"values": as_stored(values, self.options.precision).tobytes()}

    def _sequence(self, chrom: str) -> PackedSequence:
        if self.last is None or self.last[0] != chrom:
            self.last = None  # before the next is read, so that memory is one chromosome's
            codes = self.genome.codes(chrom, 0, self.genome.chromsizes[chrom])
            self.last = chrom, pack(shuffled(codes) if self.options.shuffled else codes)
        return self.last[1]
