"""The frozen encoder's tokens, computed once and kept as parquet beside the shards.

A frozen encoder is a function of a window, its orientation, its gap and the weights: every epoch
and every trial may read what one pass wrote. A folder of tokens holds a file for each shard,
rows in the same order, and a note that is written last; its name is the digest of all that the
tokens depend on. Finished files are kept when an interrupted pass runs again.
"""

from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import ray.data
import torch
from jaxtyping import Float
from torch import Tensor

from hicray.cluster import connection
from hicray.config import ModelConfig, digest
from hicray.io.notes import write_json
from hicray.io.progress import tqdm
from hicray.io.storage import Location, remove_leftovers, replaced
from hicray.model.checkpoint import weights_digest
from hicray.model.run import in_bf16
from hicray.windows.batches import Batch
from hicray.windows.collate import Collate
from hicray.windows.manifest import Manifest, ShardSet
from hicray.windows.reading import ROWS_AT_ONCE, Shard, columns, open_shard, shard_at
from hicray.windows.tokens import FLIPPED, TOKENS, TokenFormat

VERSION = 1
"""To be raised when the same inputs would give other tokens."""
NOTE = "embeddings.json"


class _Job(NamedTuple):
    """What every actor of one pass knows."""

    model: ModelConfig
    shards: ShardSet
    coarse_bin_size: int
    out: Location
    use_gpu: bool
    cpus: int


class KeptTokens(NamedTuple):
    """One gap's tokens on disk: a file for each shard, and how they are stored."""

    folder: Location
    form: TokenFormat


def wanted(model: ModelConfig) -> bool:
    """Tell whether a network's encoder is to be run once, rather than every epoch."""
    return model.encoder == "frozen" and model.embeddings != "none"


def find(model: ModelConfig, shards: ShardSet, coarse_bin_size: int) -> KeptTokens | None:
    """Return the finished tokens of a network's encoder; None if there are none to be had.

    Args:
        model: Whose encoder is meant.
        shards: The shard set.
        coarse_bin_size: In bp.
    """
    if not wanted(model):
        return None
    kept = _kept_tokens(model, shards, coarse_bin_size)
    return kept if (kept.folder / NOTE).exists() else None


def embed(
    model: ModelConfig,
    shards: ShardSet,
    coarse_bin_size: int,
    *,
    use_gpu: bool = False,
) -> KeptTokens:
    """Return one gap's tokens, computing those that are missing.

    Args:
        model: Names the encoder, its weights and the precision of storage.
        shards: The shard set; tokens go to ``embeddings/`` beside it.
        coarse_bin_size: In bp.
        use_gpu: An actor on every GPU; else as many as the CPUs feed.

    Raises:
        UserError: The weights are missing or do not fit the network.
    """
    kept = _kept_tokens(model, shards, coarse_bin_size)
    if not (kept.folder / NOTE).exists():
        kept.folder.mkdir(parents=True, exist_ok=True)
        out = kept.folder.resolve()
        pool = connection.pool(len(shards.manifest.shards), use_gpu=use_gpu)
        lasting = shards._replace(folder=shards.folder.resolve())
        job = _Job(model, lasting, coarse_bin_size, out, use_gpu, pool.cpus)
        _run(job, pool.size)
        remove_leftovers(kept.folder)
        write_json(kept.folder / NOTE, _identity(model, shards.manifest, coarse_bin_size))
    return kept


def _kept_tokens(model: ModelConfig, shards: ShardSet, coarse_bin_size: int) -> KeptTokens:
    name = f"{coarse_bin_size}-{digest(_identity(model, shards.manifest, coarse_bin_size))}"
    return KeptTokens(shards.folder.parent / "embeddings" / name, token_format(model))


def _identity(model: ModelConfig, manifest: Manifest, coarse_bin_size: int) -> dict[str, Any]:
    """Return all that tokens depend on; the plan stands for windows, maps, scale and cap."""
    return {
        "plan": manifest.plan,
        "weights": weights_digest(model.encoder_weights),
        "preset": model.preset,
        "coarse_bin_size": coarse_bin_size,
        "precision": model.embeddings,
        "version": VERSION,
    }


def token_format(model: ModelConfig) -> TokenFormat:
    """Return how a network's tokens are stored."""
    # timm brings torchvision, which drivers need not wait for.
    from hicray.model.encoder import PRESETS

    return TokenFormat("fp32" if model.embeddings == "fp32" else "bf16", PRESETS[model.preset].dim)


def _run(job: _Job, actors: int) -> None:
    units = [
        {**shard_at(job.shards.folder, shard)._asdict(), "file": shard.file, "split": shard.split}
        for shard in job.shards.manifest.shards
    ]
    # A block for each shard: an actor takes one at a time.
    done = ray.data.from_items(units, override_num_blocks=len(units)).map(
        _Encoder,
        fn_constructor_args=(job,),
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=job.cpus,
        num_gpus=1 if job.use_gpu else 0,
    )
    total = sum(shard.rows for shard in job.shards.manifest.shards)
    with tqdm(total=total, desc=f"embed {job.coarse_bin_size:,} bp", unit="window") as bar:
        for row in done.iter_rows():
            bar.update(row["rows"])


class _Encoder:
    """One actor: the frozen encoder, and what it has to know of the shards."""

    def __init__(self, job: _Job) -> None:
        # timm brings torchvision, which only actors need.
        from hicray.model.build import build_encoder

        torch.set_num_threads(job.cpus)
        self.job = job
        self.form = token_format(job.model)
        self.device = torch.device("cuda" if job.use_gpu else "cpu")
        encoder = build_encoder(job.model, window_bins=job.shards.manifest.window_bins)
        self.encoder = encoder.to(self.device)
        self.collate = Collate(job.shards.manifest, job.coarse_bin_size)

    def __call__(self, unit: dict[str, Any]) -> dict[str, Any]:
        """Write one shard's tokens, unless they are there."""
        shard = Shard(*(unit[field] for field in Shard._fields))
        target = self.job.out / unit["file"]
        if not target.exists():
            with replaced(target) as path:
                self._write(open_shard(shard), path, both=unit["split"] == "train")
        return {"rows": shard.rows}

    def _write(self, shard: pq.ParquetFile, path: Path, *, both: bool) -> None:
        writer: pq.ParquetWriter | None = None
        names = columns(self.job.coarse_bin_size)
        for rows in shard.iter_batches(ROWS_AT_ONCE, columns=names):
            table = self._tokens(pa.Table.from_batches([rows]), both=both)
            # Mantissas are noise: neither a dictionary nor a codec makes them smaller. Too large to
            # be read whole for one checksum, a file has one for each page.
            writer = writer or pq.ParquetWriter(
                path,
                table.schema,
                compression="none",
                use_dictionary=False,
                write_page_checksum=True,
            )
            writer.write_table(table)
        if writer is not None:
            writer.close()

    def _tokens(self, rows: pa.Table, *, both: bool) -> pa.Table:
        """Return the tokens of windows, and of their other strand where training flips them."""
        batch = self.collate.decode(self.collate.compact(rows), self.device)
        named = {TOKENS: self._encode(batch)}
        if both:
            everything = torch.ones(len(batch), dtype=torch.bool, device=self.device)
            named[FLIPPED] = self._encode(batch.reverse_complemented(everything))
        return pa.table({name: self.form.pack(tokens) for name, tokens in named.items()})

    @torch.inference_mode()
    def _encode(self, batch: Batch) -> Float[Tensor, "batch tokens dim"]:
        # What is rounded to bf16 in the end may be computed in it where that is fast.
        half = self.form.precision == "bf16" and in_bf16(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            tokens: Tensor = self.encoder(batch.image, batch.total_reads)
        return tokens
