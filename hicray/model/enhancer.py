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
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from hicray.config import ModelConfig, UserError
from hicray.model.coarse_path import CoarsePath
from hicray.model.composition import Composition
from hicray.model.decay import DecayFactors
from hicray.model.decoder import Decoder
from hicray.model.dna import UNKNOWN, DnaTower, PooledDna
from hicray.model.encoder import PRESETS, ContactEncoder, Size
from hicray.model.patches import PATCH, sincos_bins
from hicray.model.pixels import PairFeatures, PixelPath
from hicray.windows.inputs import USABLE
from hicray.windows.smoothing import smoothed_base


class DnaTokens(nn.Module):
    """Turns DNA embeddings into tokens of the decoder, marked by position and axis."""

    positions: Tensor

    def __init__(self, width: int, decoder_dim: int, *, segments: int, patches: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, decoder_dim)
        self.axis = nn.Parameter(torch.randn(2, decoder_dim) * 0.02)
        table = sincos_bins(segments, patches, decoder_dim)
        self.register_buffer("positions", table, persistent=False)

    def forward(
        self,
        row: Float[Tensor, "batch segments width"],
        col: Float[Tensor, "batch segments width"] | None,
    ) -> Float[Tensor, "batch dna_tokens decoder_dim"]:
        tokens: Tensor = self.project(row) + self.positions + self.axis[0]
        if col is None:
            return tokens
        return torch.cat([tokens, self.project(col) + self.positions + self.axis[1]], dim=1)


class Head(nn.Module):
    """All that comes after the contact encoder: decoder, coarse path, DNA and pixels.

    It stands alone, so that it can be trained on stored tokens of a frozen contact encoder.
    """

    def __init__(
        self, config: ModelConfig, size: Size, *, window_bins: int, bin_size: int, factor: int
    ) -> None:
        super().__init__()
        self.residual = config.residual
        self.start_width_bins = config.start_width_bins
        self.blank = config.sequence == "blank"
        self.window_bins = window_bins
        self.bin_size = bin_size
        self.flank_bins = config.flank_bins
        self.patches = window_bins // PATCH
        self.decoder = Decoder(size, patch_rows=self.patches, patch_cols=self.patches)
        self.dna: DnaTower | PooledDna | Composition | None = None
        self.dna_tokens: DnaTokens | None = None
        self.pairs: PairFeatures | None = None
        self.coarse: CoarsePath | None = None
        if config.coarse_path == "on":
            width = config.coarse_channels or size.coarse_channels
            # Without a pixel path nothing would read them.
            features = size.pixel_channels if config.fusion != "tokens" else 0
            self.coarse = CoarsePath(width, config.coarse_blocks, factor=factor, features=features)
        self.pixels: PixelPath | None = None
        if config.fusion != "tokens":
            self.pixels = PixelPath(size.pixel_channels)
        self.decay = DecayFactors()
        # What differs between the arms comes last: equal seeds then start the rest equally.
        if config.sequence != "off":
            self._add_dna(config, size)
        if config.residual:
            self._start_at_base()

    def _add_dna(self, config: ModelConfig, size: Size) -> None:
        """Build the DNA encoder and the ways in which its embeddings join the contacts."""
        pooled = config.dna == "pooled" and config.sequence != "composition"
        width = size.dim if pooled else config.dna_channels
        self.segments = 1 if pooled else self.window_bins
        self.dna = PooledDna(width) if pooled else self._by_bin_encoder(config)
        if config.fusion != "pairwise":
            self.dna_tokens = DnaTokens(
                width, size.decoder_dim, segments=self.segments, patches=self.patches
            )
        if config.fusion != "tokens":
            self.pairs = PairFeatures(width, size.pixel_channels)

    def _by_bin_encoder(self, config: ModelConfig) -> DnaTower | Composition:
        context: dict[str, Any] = {
            "flank_bins": config.flank_bins,
            "context": config.context,
            "layers": config.context_layers,
        }
        if config.sequence == "composition":
            return Composition(self.bin_size, config.dna_channels, **context)
        return DnaTower(self.bin_size, config.depth, config.dna_channels, **context)

    def _start_at_base(self) -> None:
        """Zero the last layer: a gain that starts at zero instead hardly ever leaves it."""
        last = self.decoder.map if self.pixels is None else self.pixels.out
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        if self.coarse is not None:
            self.coarse.start_at_zero()

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens dim"] | None,
        base: Float[Tensor, "batch rows cols"],
        expected: Float[Tensor, "batch rows cols"],
        evidence: Float[Tensor, "batch 5 coarse_rows coarse_cols"],
        diagonal: Int[Tensor, " batch"],
        row_bases: UInt8[Tensor, "batch bases"] | None = None,
        col_bases: UInt8[Tensor, "batch bases"] | None = None,
    ) -> Float[Tensor, "batch rows cols"]:
        """Enhance from the contact encoder's tokens; the rest as in ``Enhancer``.

        Without tokens the decoder does not run, and the map that it would give is 0 everywhere.
        """
        if self.start_width_bins:
            base = smoothed_base(base, expected, evidence[:, USABLE], self.start_width_bins)
        row = col = dna = pairs = None
        if self.dna is not None:
            row = self._embed(row_bases, base)
            col = None if col_bases is None else self._embed(col_bases, base)
        if row is not None and self.dna_tokens is not None:
            dna = self.dna_tokens(row, col)
        change = torch.zeros_like(base)
        if tokens is not None:
            change = self.decoder(tokens, self.patches, self.patches, dna)
        correction = features = None
        if self.coarse is not None:
            correction, features = self.coarse(evidence)
        if self.pixels is not None:
            separation = self._separation(diagonal)
            if row is not None and self.pairs is not None:
                # On the diagonal both axes have the same DNA.
                row, col = self._by_bin(row), self._by_bin(row if col is None else col)
                pairs = self.pairs(row, col, separation)
            change = self.pixels(base, change, separation, pairs, features)
        change = change if correction is None else change + correction
        enhanced = base + change if self.residual else change
        # Such a window is its own transpose, which a transformer's map need not be.
        on_diagonal = (diagonal == 0)[:, None, None]
        enhanced = torch.where(on_diagonal, (enhanced + enhanced.mT) / 2, enhanced)
        corrected: Tensor = self.decay(enhanced, diagonal)
        return corrected

    def _embed(
        self, bases: UInt8[Tensor, "batch bases"] | None, base: Float[Tensor, "batch rows cols"]
    ) -> Float[Tensor, "batch segments width"]:
        """Embed the DNA of one axis; blank: that of one unknown bin, whatever the bases are."""
        assert self.dna is not None
        if self.blank:
            length = (1 + 2 * self.flank_bins) * self.bin_size
            unknown = torch.full((1, length), UNKNOWN, dtype=torch.uint8, device=base.device)
            # N is all zeros, so that nothing of a locus is left: one learned embedding for all
            # bins.
            constant: Tensor = self.dna(unknown)
            return constant.expand(base.shape[0], self.segments, -1)
        if bases is None:
            raise ValueError("this model reads DNA, but was given none: pass row_bases")
        needed = (self.window_bins + 2 * self.flank_bins) * self.bin_size
        # Models with narrower flanks may share a batch with others.
        surplus, odd = divmod(bases.shape[1] - needed, 2 * self.bin_size)
        if surplus < 0 or odd:
            raise ValueError(
                f"{bases.shape[1]} bases do not cover {self.window_bins} bins of "
                f"{self.bin_size} bp and {self.flank_bins} on either side; pass {needed} bases"
            )
        cut = surplus * self.bin_size
        embedding: Tensor = self.dna(bases[:, cut : bases.shape[1] - cut])
        return embedding

    def _by_bin(
        self, embedding: Float[Tensor, "batch segments width"]
    ) -> Float[Tensor, "batch bins width"]:
        return embedding.expand(-1, self.window_bins, -1)

    def _separation(self, diagonal: Int[Tensor, " batch"]) -> Int[Tensor, "batch rows cols"]:
        bins = torch.arange(self.window_bins, device=diagonal.device)
        # Column less row: negative below the diagonal.
        return diagonal[:, None, None] + bins - bins[:, None]


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

        Returns:
            Enhanced maps, in network units.
        """
        tokens = self.encoder(image, total_reads)
        enhanced: Tensor = self.head(
            tokens, base, expected, evidence, diagonal, row_bases, col_bases
        )
        return enhanced
