"""Rows of shards to batches: compact tensors on the host, dense maps on the device."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hicray.maps.genome import PackedGenome
from hicray.windows.batches import Batch
from hicray.windows.bin_table import NO_TABLES, BinTables
from hicray.windows.dna import BinReader, DnaReader, Whose
from hicray.windows.inputs import DNA, TRACKS, CoarseWindows, decode_coarse
from hicray.windows.manifest import Manifest, coarse_name
from hicray.windows.scales import balance, caps_of, spread, to_network
from hicray.windows.tokens import FLIPPED, TOKENS, TokenFormat


class Collate:
    """Turns the rows of one gap into batches.

    Args:
        manifest: Of the shard set.
        coarse_bin_size: In bp.
        genome: Packed; None where the trial reads no DNA.
        flank_bins: Fine bins of DNA beyond either end of a window.
        tokens: How the rows' tokens are stored; None where they have none.
        dna: Whose DNA windows bring.
        bins: Stored embeddings and tracks of the genome's bins, where they are read.
    """

    def __init__(
        self,
        manifest: Manifest,
        coarse_bin_size: int,
        genome: PackedGenome | None = None,
        flank_bins: int = 0,
        tokens: TokenFormat | None = None,
        dna: Whose = "own",
        bins: BinTables = NO_TABLES,
    ) -> None:
        self.manifest = manifest
        self.map_name = coarse_name(coarse_bin_size)
        self.factor = coarse_bin_size // manifest.fine_bin_size
        self.reader = None if genome is None else DnaReader(genome, manifest, flank_bins)
        self.embeddings, self.tracks = (
            None if tables is None else BinReader(tables, manifest, flank_bins) for tables in bins
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
            **self._tracks(chroms, row.tolist(), col.tolist()),
            **self._tokens(table),
        }

    def _dna(
        self, chroms: list[str], row: list[int], col: list[int], dna: Whose
    ) -> dict[str, Tensor]:
        """Return what windows bring of their DNA; the columns' where they are not the rows'."""
        brought: dict[str, Tensor] = {}
        for axis, starts in self._axes(row, col).items():
            if self.reader is not None:
                bases = self.reader.read(chroms, starts, dna)
                brought[f"{axis}_bases"] = torch.from_numpy(bases)
            if self.embeddings is not None:
                brought[f"{axis}_embeddings"] = self.embeddings.read(chroms, starts, dna)
        return brought

    def _tracks(
        self, chroms: list[str], row: list[int], col: list[int], whose: Whose = "own"
    ) -> dict[str, Tensor]:
        """Return the tracks of windows; the columns' where they are not the rows'."""
        if self.tracks is None:
            return {}
        read = self.tracks.read
        axes = self._axes(row, col)
        return {f"{axis}_tracks": read(chroms, starts, whose) for axis, starts in axes.items()}

    def _axes(self, row: list[int], col: list[int]) -> dict[str, list[int]]:
        """Return the axes that bring something of their own: on the diagonal, the rows alone."""
        return {"row": row} if self.manifest.diagonal_only else {"row": row, "col": col}

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
        swapped = self._dna(*self._loci(batch), dna)
        if not swapped:
            raise ValueError("windows without a genome have no DNA to swap")
        device = batch.target.device
        return replace(batch, **{name: values.to(device) for name, values in swapped.items()})

    def with_tracks(self, batch: Batch, whose: Whose) -> Batch:
        """Return the same windows with other tracks: another locus', or their bins shuffled.

        Raises:
            ValueError: This collate has none.
        """
        swapped = self._tracks(*self._loci(batch), whose)
        if not swapped:
            raise ValueError("windows without tracks have none to swap")
        device = batch.target.device
        return replace(batch, **{name: values.to(device) for name, values in swapped.items()})

    def _loci(self, batch: Batch) -> tuple[list[str], list[int], list[int]]:
        """Return chromosome, first row and first column of windows, in bp."""
        chroms = [self.groups[group][1] for group in batch.group.tolist()]
        rows = batch.row_start.cpu()
        cols = rows + batch.diagonal.cpu() * self.manifest.fine_bin_size
        return chroms, rows.tolist(), cols.tolist()

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
            **{name: on[name] for name in (*DNA, *TRACKS) if name in on},
        )

    def _of(self, name: str, source: Int[Tensor, " batch"]) -> Float[Tensor, "batch ..."]:
        """Return what is known of each window's source, kept on every device that asks."""
        device = source.device
        if device not in self._constants:
            host = self._constants[torch.device("cpu")]
            self._constants[device] = {key: one.to(device) for key, one in host.items()}
        return self._constants[device][name][source]
