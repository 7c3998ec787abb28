"""The dual-encoder network: contact tokens and DNA embeddings in, a finer map out.

    coarse map   image     -> encoder     -> tokens -----+
                                                         +-> decoder -> map -+
                              +-> tokens (fusion) -------+                   |
    DNA          bases     -> tower -> an embedding a bin -> pairs ----------+-> pixels -+
                                                                             |           |
    coarse map   evidence  -> coarse path -> features -----------------------+           |
                                          -> correction ---------------------------------+
    coarse map   base, coarse O/E x fine expected ---------------------------------------+-> sum

Axis names: ``batch``; ``rows cols`` are fine bins of a window; ``segments`` of an axis have a DNA
embedding each (its bins, or 1: the whole of it); ``width`` is that of a DNA embedding; ``tokens``
and ``dim`` are the contact encoder's. Maps are in network units, log10(contacts + 1) / log10(1001).
"""

from contextlib import nullcontext

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from hicray.config import ModelConfig, UserError
from hicray.model.encoder import PRESETS, ContactEncoder
from hicray.model.head import Head
from hicray.model.patches import PATCH


class Enhancer(nn.Module):
    """Sharpens a window's coarse map, with or without its DNA.

    ``sequence`` is ``on`` (or ``elsewhere``: the same, fed with another locus' DNA), ``off`` (no
    DNA modules), ``blank`` (as many parameters as ``on``, a learned constant for the DNA) or
    ``composition`` (GC, N and cut sites of each bin). With ``residual`` all return ``base`` before
    training, and learn a correction to it.

    ``build`` makes one; here, a tuned or frozen encoder is a shape that waits for its weights.

    Raises:
        UserError: The window is not a whole number of patches.
    """

    def __init__(
        self, config: ModelConfig, *, window_bins: int, bin_size: int, factor: int
    ) -> None:
        super().__init__()
        if window_bins % PATCH:
            raise UserError(
                f"a window of {window_bins} bins is not a whole number of {PATCH}-bin patches; "
                f"take {(window_bins // PATCH + 1) * PATCH} bins"
            )
        size = PRESETS[config.preset]
        patches = window_bins // PATCH
        # Without values where a file's will take their place: a head that is built alone, for
        # stored tokens, then starts from the same random numbers as this one.
        with nullcontext() if config.encoder == "scratch" else torch.device("meta"):
            self.encoder = ContactEncoder(size, patch_rows=patches, patch_cols=patches)
        self.encoder.requires_grad_(config.encoder != "frozen")
        self.head = Head(config, size, window_bins=window_bins, bin_size=bin_size, factor=factor)

    def forward(  # noqa: PLR0913 - a logged model names its inputs one by one
        self,
        image: Float[Tensor, "batch 3 rows cols"],
        total_reads: Float[Tensor, " batch"],
        base: Float[Tensor, "batch rows cols"],
        expected: Float[Tensor, "batch rows cols"],
        evidence: Float[Tensor, "batch 5 coarse_rows coarse_cols"],
        diagonal: Int[Tensor, " batch"],
        row_bases: UInt8[Tensor, "batch bases"] | None = None,
        col_bases: UInt8[Tensor, "batch bases"] | None = None,
        row_embeddings: Float[Tensor, "batch strands bins features"] | None = None,
        col_embeddings: Float[Tensor, "batch strands bins features"] | None = None,
        row_tracks: Float[Tensor, "batch strands bins track_values"] | None = None,
        col_tracks: Float[Tensor, "batch strands bins track_values"] | None = None,
    ) -> Float[Tensor, "batch rows cols"]:
        """Enhance a batch of windows; those on the diagonal come out exactly symmetric.

        Args:
            image: HiCFoundation's normalised image of the coarse map on the fine grid.
            total_reads: Raw reads of the whole coarse map.
            base: Coarse O/E x fine expected, in network units.
            expected: Fine contacts by distance alone, in network units; read where the start is
                smoothed.
            evidence: The coarse map on its own grid (``windows.inputs.evidence_of``); read by the
                coarse path.
            diagonal: First column minus first row of each window, in fine bins.
            row_bases: Base codes of the rows' DNA; not read unless ``sequence`` is ``on``.
            col_bases: Likewise of the columns; None if all windows are on the diagonal.
            row_embeddings: Stored embeddings of the rows' bins, where ``dna`` reads them.
            col_embeddings: Likewise of the columns.
            row_tracks: Measured tracks of the rows' bins, where ``sequence`` reads them.
            col_tracks: Likewise of the columns.

        Returns:
            Enhanced maps, in network units.
        """
        tokens = self.encoder(image, total_reads)
        enhanced: Tensor = self.head(
            tokens, base, expected, evidence, diagonal,
            row_bases, col_bases, row_embeddings, col_embeddings, row_tracks, col_tracks,
        )  # fmt: skip
        return enhanced
