"""All that comes after the contact encoder: decoder, coarse path, DNA and pixels.

Axis names as in ``enhancer``; ``features`` are the stored values of a bin's DNA.
"""

from typing import Any

import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor, nn

from hicray.config import ModelConfig
from hicray.model.coarse_path import CoarsePath
from hicray.model.composition import Composition
from hicray.model.decay import DecayFactors
from hicray.model.decoder import Decoder
from hicray.model.dna import UNKNOWN, DnaTower, PooledDna
from hicray.model.encoder import Size
from hicray.model.patches import PATCH, sincos_bins
from hicray.model.pixels import PairFeatures, PixelPath
from hicray.model.stored_dna import StoredDna, TowerAndStored
from hicray.windows.inputs import USABLE
from hicray.windows.smoothing import smoothed_base
from hicray.windows.track_table import VALUES as TRACK_VALUES


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
        self.features = config.embedding_channels
        self.patches = window_bins // PATCH
        self.decoder = Decoder(size, patch_rows=self.patches, patch_cols=self.patches)
        self.dna: DnaTower | PooledDna | Composition | StoredDna | TowerAndStored | None = None
        self.tracks: StoredDna | None = None
        self.dna_tokens: DnaTokens | None = None
        self.pairs: PairFeatures | None = None
        self.coarse: CoarsePath | None = None
        if config.coarse_path == "on":
            width = config.coarse_channels or size.coarse_channels
            # Without a pixel path nothing would read them.
            joining = size.pixel_channels if config.fusion != "tokens" else 0
            self.coarse = CoarsePath(width, config.coarse_blocks, factor=factor, features=joining)
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
        """Build the encoders of DNA and tracks, and how their embeddings join the contacts."""
        pooled = config.dna == "pooled" and config.sequence not in ("composition", "tracks")
        width = size.dim if pooled else config.dna_channels
        self.segments = 1 if pooled else self.window_bins
        context: dict[str, Any] = {
            "flank_bins": config.flank_bins,
            "context": config.context,
            "layers": config.context_layers,
        }
        if config.sequence != "tracks":
            self.dna = PooledDna(width) if pooled else self._by_bin_encoder(config, context)
        if config.reads_tracks:
            self.tracks = StoredDna(TRACK_VALUES * len(config.tracks), width, **context)
        if config.fusion != "pairwise":
            self.dna_tokens = DnaTokens(
                width, size.decoder_dim, segments=self.segments, patches=self.patches
            )
        if config.fusion != "tokens":
            self.pairs = PairFeatures(width, size.pixel_channels)

    def _by_bin_encoder(
        self, config: ModelConfig, context: dict[str, Any]
    ) -> DnaTower | Composition | StoredDna | TowerAndStored:
        if config.sequence == "composition":
            return Composition(self.bin_size, config.dna_channels, **context)
        if config.dna == "tower":
            return DnaTower(self.bin_size, config.depth, config.dna_channels, **context)
        stored = StoredDna(config.embedding_channels, config.dna_channels, **context)
        if config.dna == "embeddings":
            return stored
        tower = DnaTower(self.bin_size, config.depth, config.dna_channels, **context)
        return TowerAndStored(tower, stored)

    def _start_at_base(self) -> None:
        """Zero the last layer: a gain that starts at zero instead hardly ever leaves it."""
        last = self.decoder.map if self.pixels is None else self.pixels.out
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        if self.coarse is not None:
            self.coarse.start_at_zero()

    def forward(  # noqa: PLR0913 - as the whole network, whose inputs have names
        self,
        tokens: Float[Tensor, "batch tokens dim"] | None,
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
        """Enhance from the contact encoder's tokens; the rest as in ``Enhancer``.

        Without tokens the decoder does not run, and the map that it would give is 0 everywhere.
        """
        if self.start_width_bins:
            base = smoothed_base(base, expected, evidence[:, USABLE], self.start_width_bins)
        dna = pairs = None
        row = self._embed(row_bases, row_embeddings, row_tracks, base)
        # One axis' DNA serves both where windows lie on the diagonal.
        of_cols = (col_bases, col_embeddings, col_tracks)
        alone = all(values is None for values in of_cols)
        col = None if alone else self._embed(*of_cols, base)
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
        self,
        bases: UInt8[Tensor, "batch bases"] | None,
        embeddings: Float[Tensor, "batch strands bins features"] | None,
        tracks: Float[Tensor, "batch strands bins track_values"] | None,
        base: Float[Tensor, "batch rows cols"],
    ) -> Float[Tensor, "batch segments width"] | None:
        """Embed what is known of one axis; blank: one unknown bin, whatever the DNA is."""
        embedding = None
        if self.blank:
            # Nothing of a locus is left: one learned embedding for all bins.
            constant = self._read(*self._unknown(base.device))
            embedding = constant.expand(base.shape[0], self.segments, -1)
        elif self.dna is not None:
            embedding = self._read(
                None if bases is None else self._within(bases, self.bin_size),
                None if embeddings is None else self._within(embeddings[:, 0], 1),
            )
        if self.tracks is not None:
            if tracks is None:
                raise ValueError("this model reads tracks, but was given none: pass row_tracks")
            measured: Tensor = self.tracks(self._within(tracks[:, 0], 1))
            embedding = measured if embedding is None else embedding + measured
        return embedding

    def _read(
        self,
        bases: UInt8[Tensor, "batch bases"] | None,
        stored: Float[Tensor, "batch bins features"] | None,
    ) -> Float[Tensor, "batch segments width"]:
        """Return the DNA encoder's embeddings of what it reads."""
        wanted: dict[str, Tensor | None] = {}
        if not isinstance(self.dna, StoredDna):
            wanted["row_bases"] = bases
        if isinstance(self.dna, StoredDna | TowerAndStored):
            wanted["row_embeddings"] = stored
        if missing := [name for name, values in wanted.items() if values is None]:
            raise ValueError(f"this model reads DNA, but was given none: pass {missing[0]}")
        assert self.dna is not None
        embedding: Tensor = self.dna(*wanted.values())
        return embedding

    def _unknown(
        self, device: torch.device
    ) -> tuple[UInt8[Tensor, "1 bases"], Float[Tensor, "1 bins features"]]:
        """Return the DNA of one bin, with its flanks, of which nothing is known."""
        bins = 1 + 2 * self.flank_bins
        bases = torch.full((1, bins * self.bin_size), UNKNOWN, dtype=torch.uint8, device=device)
        return bases, torch.zeros(1, bins, self.features, device=device)

    def _within(
        self, values: Shaped[Tensor, "batch positions ..."], per_bin: int
    ) -> Shaped[Tensor, "batch inner ..."]:
        """Cut what lies beyond this model's flanks: others with wider ones may share a batch."""
        needed = (self.window_bins + 2 * self.flank_bins) * per_bin
        surplus, odd = divmod(values.shape[1] - needed, 2 * per_bin)
        if surplus < 0 or odd:
            raise ValueError(
                f"{values.shape[1]} positions do not cover {self.window_bins} bins of "
                f"{per_bin} and {self.flank_bins} on either side; pass {needed}"
            )
        cut = surplus * per_bin
        return values[:, cut : values.shape[1] - cut]

    def _by_bin(
        self, embedding: Float[Tensor, "batch segments width"]
    ) -> Float[Tensor, "batch bins width"]:
        return embedding.expand(-1, self.window_bins, -1)

    def _separation(self, diagonal: Int[Tensor, " batch"]) -> Int[Tensor, "batch rows cols"]:
        bins = torch.arange(self.window_bins, device=diagonal.device)
        # Column less row: negative below the diagonal.
        return diagonal[:, None, None] + bins - bins[:, None]
