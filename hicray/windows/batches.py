"""Arrow rows to what a network reads: compact tensors on the host, dense maps on the device."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from hicray.maps.genome import N, PackedGenome
from hicray.windows.bin_table import GenomeTables
from hicray.windows.dna import DnaReader, EmbeddingReader, Whose
from hicray.windows.inputs import DNA, HEAD, CoarseWindows, Inputs, decode_coarse, given
from hicray.windows.manifest import Manifest, coarse_name
from hicray.windows.scales import balance, caps_of, spread, to_network
from hicray.windows.tokens import FLIPPED, TOKENS, TokenFormat

MAPS = (
    "image", "coarse", "base", "expected", "evidence",
    "target", "usable", "reads", "reads_per_contact",
)  # fmt: skip
"""What of a batch lies on a grid of bins, whichever its resolution."""


@cache
def complement(device: torch.device) -> UInt8[Tensor, " codes"]:
    """Return the base that pairs with each, where it is used."""
    return torch.tensor([3, 2, 1, 0, N], dtype=torch.uint8, device=device)


@dataclass(frozen=True, kw_only=True)
class Batch(Inputs):
    """Windows with their targets; maps in network units (log10(x + 1) / log10(1001)).

    Attributes:
        target: The fine map.
        usable: Pixels whose two bins are usable; only they are learnt from and scored.
        reads: The fine map's raw counts.
        reads_per_contact: Reads that a contact stands for, by the fine map's own weights; 0 where
            a pixel is not usable. Expected reads are contacts x this.
        group: Index of (source, chromosome) in ``Collate.groups``.
        row_start: Of the window, in bp.
        tokens: The frozen contact encoder's, or None where it runs anew.
        flipped_tokens: Those of the windows seen from the other strand.
    """

    target: Float[Tensor, "batch rows cols"]
    usable: Bool[Tensor, "batch rows cols"]
    reads: Float[Tensor, "batch rows cols"]
    reads_per_contact: Float[Tensor, "batch rows cols"]
    group: Int[Tensor, " batch"]
    row_start: Int[Tensor, " batch"]
    tokens: Float[Tensor, "batch tokens dim"] | None = None
    flipped_tokens: Float[Tensor, "batch tokens dim"] | None = None

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.diagonal)

    def head_arguments(self) -> dict[str, Tensor]:
        """Return the arguments of what follows the contact encoder."""
        return given(self, "tokens", *HEAD)

    def reverse_complemented(self, chosen: Bool[Tensor, " batch"]) -> "Batch":
        """Flip the chosen windows to the other strand: maps and DNA together.

        Seen from the other strand, the locus of the columns comes before that of the rows: both
        axes turn around and swap, which keeps the window above the diagonal.
        """
        flipped: dict[str, Any] = {}
        for name in MAPS:
            maps = getattr(self, name)
            pick = chosen.reshape(-1, *[1] * (maps.ndim - 1))
            flipped[name] = torch.where(pick, maps.flip(-1, -2).transpose(-1, -2), maps)
        if self.row_bases is not None:
            cols = self.row_bases if self.col_bases is None else self.col_bases
            pick = chosen[:, None]
            flipped["row_bases"] = torch.where(pick, _other_strand(cols), self.row_bases)
            if self.col_bases is not None:
                other = _other_strand(self.row_bases)
                flipped["col_bases"] = torch.where(pick, other, self.col_bases)
        if self.row_embeddings is not None:
            cols = self.row_embeddings if self.col_embeddings is None else self.col_embeddings
            pick = chosen[:, None, None, None]
            # The other strand's embeddings, in its own direction.
            flipped["row_embeddings"] = torch.where(pick, cols.flip(1, 2), self.row_embeddings)
            if self.col_embeddings is not None:
                other = self.row_embeddings.flip(1, 2)
                flipped["col_embeddings"] = torch.where(pick, other, self.col_embeddings)
        if self.tokens is not None:
            if self.flipped_tokens is None:
                raise ValueError("these windows' tokens are stored from one strand only")
            pick = chosen[:, None, None]
            flipped["tokens"] = torch.where(pick, self.flipped_tokens, self.tokens)
            flipped["flipped_tokens"] = torch.where(pick, self.tokens, self.flipped_tokens)
        return replace(self, **flipped)

    def without_dna(self, chosen: Bool[Tensor, " batch"]) -> "Batch":
        """Hide the DNA of the chosen windows: bases read as N, embeddings as 0."""
        hidden = {}
        for name, values in given(self, *DNA).items():
            unknown = N if name.endswith("bases") else 0
            hidden[name] = values.masked_fill(chosen.reshape(-1, *[1] * (values.ndim - 1)), unknown)
        return replace(self, **hidden)


def _other_strand(bases: UInt8[Tensor, "batch bases"]) -> UInt8[Tensor, "batch bases"]:
    return complement(bases.device)[bases.flip(-1).long()]


class Collate:
    """Turns the rows of one gap into batches.

    Args:
        manifest: Of the shard set.
        coarse_bin_size: In bp.
        genome: Packed; None where the trial reads no DNA.
        flank_bins: Fine bins of DNA beyond either end of a window.
        tokens: How the rows' tokens are stored; None where they have none.
        dna: Whose DNA windows bring.
        embeddings: Stored embeddings of that DNA; None where they are not read.
    """

    def __init__(
        self,
        manifest: Manifest,
        coarse_bin_size: int,
        genome: PackedGenome | None = None,
        flank_bins: int = 0,
        tokens: TokenFormat | None = None,
        dna: Whose = "own",
        embeddings: GenomeTables | None = None,
    ) -> None:
        self.manifest = manifest
        self.map_name = coarse_name(coarse_bin_size)
        self.factor = coarse_bin_size // manifest.fine_bin_size
        self.reader = None if genome is None else DnaReader(genome, manifest, flank_bins)
        self.embeddings = (
            None if embeddings is None else EmbeddingReader(embeddings, manifest, flank_bins)
        )
        self.tokens, self.dna = tokens, dna
        chroms = manifest.chroms
        self.groups = [(source, chrom) for source in manifest.sources for chrom in chroms]
        self._group_of = {pair: i for i, pair in enumerate(self.groups)}
        sources = manifest.sources.values()
        reads = [float(info.total_reads[self.map_name]) for info in sources]
        constants = {"cap": caps_of(info.caps[self.map_name] for info in sources)}
        constants |= {"reads": torch.tensor(reads)}
        for name in ("fine", self.map_name):
            scales = [info.scale[name] for info in sources]
            constants[f"{name}_scale"] = torch.tensor(scales, dtype=torch.float32)
            constants[f"{name}_curve"] = self._curves(name)
        self._constants = {torch.device("cpu"): constants}

    def _curves(self, name: str) -> Float[Tensor, "sources separations"]:
        curves = [info.curve(name) for info in self.manifest.sources.values()]
        return torch.from_numpy(np.stack(curves)).float()

    @property
    def fine_expected(self) -> Float[Tensor, "groups separations"]:
        """Fine decay of the training chromosomes for each group, in contacts."""
        per_source = len(self.manifest.chroms)
        curves = self._constants[torch.device("cpu")]["fine_curve"]
        return curves.repeat_interleave(per_source, dim=0)

    @property
    def fine_per_coarse(self) -> Float[Tensor, " groups"]:
        """Reads of each group's fine map over those of its coarse one, which may be thinned."""
        sources = self.manifest.sources.values()
        ratios = [info.total_reads["fine"] / info.total_reads[self.map_name] for info in sources]
        return torch.tensor(ratios).repeat_interleave(len(self.manifest.chroms))

    def compact(self, table: pa.Table) -> dict[str, Tensor]:
        """Return small host tensors: integer counts, weight vectors, base codes."""
        sources = list(self.manifest.sources)
        names, chroms = table["source"].to_pylist(), table["chrom"].to_pylist()
        row, col = (table[f"{a}_start"].to_numpy() for a in ("row", "col"))
        arrays: dict[str, np.ndarray] = {
            "source": np.array([sources.index(name) for name in names]),
            "group": np.array([self._group_of[p] for p in zip(names, chroms, strict=True)]),
            "row_start": row,
            "diagonal": (col - row) // self.manifest.fine_bin_size,
            "num_rows": table["num_rows"].to_numpy(),
            "num_cols": table["num_cols"].to_numpy(),
        }
        for name in ("fine", self.map_name):
            arrays[f"{name}_counts"] = self._stack_counts(table[f"{name}_counts"])
            for axis in ("row", "col"):
                column = f"{name}_{axis}_weights"
                arrays[column] = np.stack([cell.values.to_numpy() for cell in table[column]])
        return {
            **{name: torch.from_numpy(np.array(array)) for name, array in arrays.items()},
            **self._dna(chroms, row.tolist(), col.tolist(), self.dna),
            **self._tokens(table),
        }

    def _dna(
        self, chroms: list[str], row: list[int], col: list[int], dna: Whose
    ) -> dict[str, Tensor]:
        """Return what windows bring of their DNA; the columns' where they are not the rows'."""
        axes = {"row": row} if self.manifest.diagonal_only else {"row": row, "col": col}
        brought: dict[str, Tensor] = {}
        for axis, starts in axes.items():
            if self.reader is not None:
                bases = self.reader.read(chroms, starts, dna)
                brought[f"{axis}_bases"] = torch.from_numpy(bases)
            if self.embeddings is not None:
                brought[f"{axis}_embeddings"] = self.embeddings.read(chroms, starts, dna)
        return brought

    def _tokens(self, table: pa.Table) -> dict[str, Tensor]:
        if self.tokens is None:
            return {}
        there = [name for name in (TOKENS, FLIPPED) if name in table.column_names]
        return {name: self.tokens.unpack(table[name]) for name in there}

    def _stack_counts(self, column: pa.ChunkedArray) -> np.ndarray:
        """Stack windows' counts; where both forms occur, triangles become squares."""
        cells = [cell.values.to_numpy() for cell in column]
        if len({len(cell) for cell in cells}) == 1:
            return np.stack(cells)
        side = round(max(len(cell) for cell in cells) ** 0.5)
        return np.stack(
            [
                spread(torch.from_numpy(np.array(cell))[None], side, 1).int().numpy().ravel()
                if len(cell) < side * side
                else cell
                for cell in cells
            ]
        )

    def with_dna(self, batch: Batch, dna: Whose) -> Batch:
        """Return the same windows with other DNA.

        Raises:
            ValueError: This collate has no genome.
        """
        chroms = [self.groups[group][1] for group in batch.group.tolist()]
        rows, device = batch.row_start.cpu(), batch.target.device
        cols = rows + batch.diagonal.cpu() * self.manifest.fine_bin_size
        swapped = self._dna(chroms, rows.tolist(), cols.tolist(), dna)
        if not swapped:
            raise ValueError("windows without a genome have no DNA to swap")
        return replace(batch, **{name: values.to(device) for name, values in swapped.items()})

    def decode(self, compact: Mapping[str, Tensor], device: torch.device | str = "cpu") -> Batch:
        """Return dense maps made on ``device``."""
        on = {name: tensor.to(device, non_blocking=True) for name, tensor in compact.items()}
        source = on["source"]
        inputs = decode_coarse(self._coarse_windows(on), self.factor)
        weights = on["fine_row_weights"], on["fine_col_weights"]
        reads = spread(on["fine_counts"], weights[0].shape[1], 1)
        scale = self._of("fine_scale", source)[:, None, None]
        per_read = balance(torch.ones_like(reads), *weights) * scale
        usable = [torch.isfinite(axis) for axis in weights]
        return Batch(
            **vars(inputs),
            target=to_network(reads * per_read),
            usable=usable[0][:, :, None] & usable[1][:, None, :],
            reads=reads,
            reads_per_contact=torch.where(per_read > 0, 1 / per_read.clamp(min=1e-30), 0.0),
            group=on["group"],
            row_start=on["row_start"],
            **{name: on[name].float() for name in (TOKENS, FLIPPED) if name in on},
        )

    def _coarse_windows(self, on: Mapping[str, Tensor]) -> CoarseWindows:
        name, source = self.map_name, on["source"]
        return CoarseWindows(
            counts=on[f"{name}_counts"],
            row_weights=on[f"{name}_row_weights"],
            col_weights=on[f"{name}_col_weights"],
            scale=self._of(f"{name}_scale", source),
            num_rows=on["num_rows"],
            num_cols=on["num_cols"],
            diagonal=on["diagonal"],
            total_reads=self._of("reads", source),
            cap=self._of("cap", source),
            coarse_expected=self._of(f"{name}_curve", source),
            fine_expected=self._of("fine_curve", source),
            **{name: on[name] for name in DNA if name in on},
        )

    def _of(self, name: str, source: Int[Tensor, " batch"]) -> Float[Tensor, "batch ..."]:
        """Return what is known of each window's source, kept on every device that asks."""
        device = source.device
        if device not in self._constants:
            host = self._constants[torch.device("cpu")]
            self._constants[device] = {key: one.to(device) for key, one in host.items()}
        return self._constants[device][name][source]
