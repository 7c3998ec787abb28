"""What a user asks of a trained network; imports nothing heavy, so that --help answers at once."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Request:
    """A map and the network that is to read it."""

    checkpoint: str
    """Checkpoint or trial folder, MLflow URI (models:/..., runs:/...), or HiCFoundation file."""
    contacts: str
    """The map to sharpen (.mcool, .cool, .hic or a cooler URI), raw counts with weights."""
    out: Path
    """File to write."""
    bin_size: int = 0
    """Bins of the map that are read, in bp; those that the network was trained on if not given."""
    fine_bin_size: int = 0
    """Bins to write, for a HiCFoundation file: it was trained on 10000 in and out, raw counts."""
    genome: str = ""
    """FASTA that the map was aligned to; for a network that reads DNA."""
    dna_embeddings: str = ""
    """Table of `hicray embed-dna` of that FASTA; for a network that reads stored embeddings."""
    tracks: tuple[str, ...] = ()
    """Measured tracks as NAME=FILE.bw, by the names that the network was trained with."""
    match_chr: bool = False
    """Take chromosome names of map and genome that differ only in 'chr' as the same."""
    weights: str = "weight"
    """Column of balancing weights; Juicer's divisive ones (KR, VC, ...) are inverted."""
    like: str = ""
    """Which of the maps that the network was trained on gives the result its depth and decay; the
    one nearest in depth if not given."""
    tracking_uri: str = ""
    """MLflow store that knows the URI; $MLFLOW_TRACKING_URI if not given."""


@dataclass(frozen=True, kw_only=True)
class Enhance(Request):
    """A whole map, sharpened by a trained network."""

    chroms: tuple[str, ...] = ()
    """Chromosomes to enhance; all if not given."""
    max_distance: int = 0
    """Largest separation of the result, in bp; 0: training windows' own, less a quarter window."""
    use_gpu: bool = False
    """An actor on every GPU."""


@dataclass(frozen=True, kw_only=True)
class Ablate(Request):
    """One window of a map, predicted with and without a stretch of its DNA."""

    locus: str
    """The stretch, as chrom:start-end in bp, 0-based and half-open."""
    draws: int = 8
    """Random replacements of the stretch whose predictions are averaged."""
