"""One experiment as frozen dataclasses: what is prepared, what is trained, what is searched.

Every field is a plain value, so that a configuration flattens to dotted names (MLflow
parameters), digests to a short hash (the identity of a shard set or a trial) and becomes a
command line without further code.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar

from hicray.wording import scrubbed

SequenceMode = Literal["on", "off", "blank", "composition", "elsewhere", "tracks", "on+tracks"]
Fusion = Literal["tokens", "pairwise", "both"]
Encoder = Literal["scratch", "tuned", "frozen"]
Preset = Literal["large", "base", "small", "tiny"]
DnaEncoder = Literal["tower", "pooled", "embeddings", "tower+embeddings"]
StoredPrecision = Literal["bf16", "fp32"]
Precision = Literal["bf16", "fp32", "none"]
Context = Literal["dilated", "attention"]
CoarsePath = Literal["on", "off"]
Loss = Literal["likelihood", "correlation", "report"]
_LATER: Mapping[str, bool] = {"later": True}
"""Marks settings that came later: left alone, they change no digest of what was made before."""
TAKEN_HOME: tuple[SequenceMode, ...] = ("off", "on", "tracks", "on+tracks")
"""Arms that sharpen maps; the others are controls."""
CONTEXT_HEADS = 4
"""Attention heads over the bins of the tower."""
Config = TypeVar("Config")


class UserError(Exception):
    """Something the user got wrong: one sentence with the value, the rule and the way out.

    Args:
        sentence: What is said; addresses in it lose their secrets.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(scrubbed(sentence))


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What a shard set is cut from, and how."""

    contacts: tuple[str, ...] = ()
    """Contact maps (.mcool, .cool, .hic or a cooler URI); one source each. None: a simulation."""
    genome: str = ""
    """FASTA that the maps were aligned to, plain or BGZF; not needed where no arm reads DNA."""
    fine_bin_size: int = 4_000
    """Bin size of the target, in bp."""
    coarse_bin_sizes: tuple[int, ...] = (8_000, 16_000)
    """Bin sizes of the inputs, in bp; multiples of the fine one."""
    match_chr: bool = False
    """Take chromosome names of map and genome that differ only in 'chr' as the same."""
    split: str = "orca"
    """A named split, or one's own, of chromosomes or regions: 'val=chrII;test=chrIV:0-500k'."""
    window_bins: int = 224
    """Fine bins along each side of a window."""
    train_stride_bins: int = 0
    """Fine bins between training windows; 0 is a quarter of a window."""
    max_distance: int = 0
    """How far off the diagonal windows begin, in bp, in steps of a window; 0 keeps to it."""
    raw: bool = False
    """Raw counts instead of balanced contacts."""
    weights: str = "weight"
    """Column of balancing weights; Juicer's divisive ones (KR, VC, ...) are inverted."""
    min_usable: float = 0.7
    """Smallest fraction of usable bins, on each axis, of a window that is kept."""
    coarse_keep: float = 1.0
    """Fraction of the reads that the coarse map keeps (binomial thinning)."""
    disjoint_reads: bool = False
    """With thinning, take the coarse map's reads out of the fine map."""
    data_seed: int = 0
    """Seed of thinning and of the order in which windows are written."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The dual-encoder network."""

    preset: Preset = "tiny"
    """Size of the contact encoder and decoder; large is HiCFoundation's, for its weights."""
    encoder: Encoder = "scratch"
    """Contact encoder: from scratch, tuned from published weights, or frozen at them."""
    encoder_weights: str = ""
    """HiCFoundation checkpoint (.pth.tar or .safetensors) for a tuned or frozen encoder."""
    embeddings: Precision = "bf16"
    """How a frozen encoder's output is kept between epochs; none runs it anew in each."""
    sequence: SequenceMode = "on"
    """DNA on; off (no DNA modules); a control: blank (all modules, a learned constant for DNA),
    composition (GC, N, cut sites per bin), elsewhere (another locus' DNA); or measured tracks in
    place of DNA (tracks) or beside it (on+tracks)."""
    dna: DnaEncoder = "tower"
    """One embedding per bin (tower) or per window (pooled, the report's CNN), or stored ones of a
    model that was run once (embeddings), alone or added to the tower's."""
    depth: int = 3
    """Convolution blocks of the DNA tower."""
    dna_channels: int = 32
    """Width of the DNA tower and of its bin embeddings."""
    flank_bins: int = 0
    """Fine bins of DNA that the tower reads beyond either end of a window."""
    context: Context = "dilated"
    """How bins of the tower see each other: dilated convolutions or attention."""
    context_layers: int = 0
    """How many such layers follow the tower's blocks."""
    fusion: Fusion = "both"
    """Where DNA joins: tokens into the decoder, pairwise features at the pixels, or both."""
    coarse_path: CoarsePath = "on"
    """Convolutions on the coarse grid, which sharpen without DNA; off: the report's network."""
    coarse_channels: int = 0
    """Width of the coarse path; 0 is the preset's."""
    coarse_blocks: int = 4
    """Residual blocks of the coarse path."""
    residual: bool = True
    """Predict a correction to coarse O/E x fine expected, rather than the map itself."""
    start_width_bins: float = 0.0
    """Width of a Gaussian, in fine bins, that smooths coarse O/E before it is corrected: for maps
    of so few reads that one pixel says little; 0 takes it as it is."""

    dna_embeddings: str = field(default="", metadata=_LATER)
    """Table of a model of DNA, the --out folder of `hicray embed-dna`."""
    embedding_channels: int = field(default=0, metadata=_LATER)
    """Values of a bin in that table; found out from it, as is the digest of its model."""
    embedding_model: str = field(default="", metadata=_LATER)

    tracks: tuple[str, ...] = field(default=(), metadata=_LATER)
    """Measured tracks as NAME=FILE.bw, for the arms tracks and on+tracks."""
    track_scales: tuple[float, ...] = field(default=(), metadata=_LATER)
    """Mean and deviation of each track's log signal on the training chromosomes; found out."""

    @property
    def reads_dna(self) -> bool:
        """Whether a network's output depends on DNA."""
        return self.sequence not in ("off", "blank", "tracks")

    @property
    def reads_tracks(self) -> bool:
        """Whether windows must bring their tracks."""
        return "tracks" in self.sequence

    @property
    def reads_bases(self) -> bool:
        """Whether windows must bring their bases."""
        return self.reads_dna and (self.sequence == "composition" or self.dna != "embeddings")

    @property
    def reads_embeddings(self) -> bool:
        """Whether windows must bring stored embeddings of their DNA."""
        return self.reads_dna and self.sequence != "composition" and "embeddings" in self.dna


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run."""

    epochs: int = 32
    """Most epochs of a run, over which the learning rate falls to 0; 0 fits them, and the patience,
    to the number of training windows."""
    patience: int = 0
    """Epochs in a row without a better validation O/E Pearson that end a run; 0 waits for all."""
    workers: int = 1
    """Processes that train one trial together, each on its own windows."""
    batch_size: int = 4
    """Windows per worker and step."""
    accumulate: int = 4
    """Steps whose gradients are summed before the optimizer moves."""
    base_learning_rate: float = 1.5e-3
    """Peak learning rate of 256 windows a step, scaled to batch size x accumulate x workers."""
    layer_decay: float = 0.75
    """A tuned encoder's block learns at this fraction of the rate of the next one."""
    warmup: float = 0.1
    """Share of all steps spent warming up; a cosine follows."""
    weight_decay: float = 0.05
    clip: float = 1.0
    """Largest gradient norm."""
    loss: Loss = "likelihood"
    """1 - correlation of log O/E, plus either the fine reads' Poisson likelihood or (correlation)
    the mean squared error of log O/E; or the report's mean squared error alone."""
    ssim_weight: float = 0.2
    """w in (1 - w) loss + w (1 - SSIM)."""
    reverse_complement: bool = True
    """Flip half of the training windows together with their DNA."""
    hidden_dna: float = 0.5
    """Share of training windows whose bases are hidden (N), so that a network with DNA learns from
    contacts what there is to learn, and less of the training genome by heart."""
    seed: int = 0

    @property
    def peak_learning_rate(self) -> float:
        """Peak learning rate of one step; the rule is HiCFoundation's."""
        return self.base_learning_rate * self.batch_size * self.accumulate * self.workers / 256


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """Everything that decides the result of one trial."""

    coarse_bin_size: int
    model: ModelConfig
    train: TrainConfig
    refit_epochs: int = 0
    """Epochs of a refit on all chromosomes, where nothing validates; 0 in a trial of a search."""

    @property
    def most_epochs(self) -> int:
        """Epochs after which the run ends at the latest; the rate falls over those of ``train``."""
        return self.refit_epochs or self.train.epochs


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where results go and what they are made with."""

    storage: str = ""
    """Folder, or s3://bucket/folder, of shards, checkpoints, search state and reports; if not
    given, NAME in $HICRAY_STORAGE or runs."""
    tracking_uri: str = ""
    """MLflow store or server; $MLFLOW_TRACKING_URI, or a SQLite file in the storage folder, if not
    given."""
    use_gpu: bool = False
    """One GPU per worker."""
    cpus_per_worker: float = 1.0
    """CPUs reserved for each worker."""


@dataclass(frozen=True, kw_only=True)
class Tune:
    """A search over {noseq, seq} x gaps."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    run: Run = field(default_factory=Run)
    arms: tuple[SequenceMode, ...] = ("off", "on")
    """What is compared: off (noseq), on (seq), and controls trained alike: blank (seq's modules
    without DNA), composition (GC, N, cut sites), elsewhere (another locus' DNA); and tracks, alone
    or with DNA (on+tracks)."""
    trials: int = 4
    """Distinct configurations per cell: every arm at every gap tries as many."""
    search_seed: int = 0
    """Seed of the searcher."""
    seeds: int = 1
    """Training seeds of each cell's best trial; with several, intervals cover them too."""
    refit: bool = False
    """Train the better of seq and noseq at each gap once more, on all chromosomes: the network to
    take home. It saw the test chromosomes, so that it is never compared."""


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return ``{"model.depth": 3, ...}``: dotted names of all leaves of nested dataclasses."""
    leaves: dict[str, Any] = {}
    for leaf in fields(config):
        value = getattr(config, leaf.name)
        name = f"{prefix}{leaf.name}"
        if is_dataclass(value):
            leaves |= flatten(value, prefix=f"{name}.")
        else:
            leaves[name] = value
    return leaves


def override(config: Config, changes: dict[str, Any]) -> Config:
    """Return a copy of nested dataclasses with dotted names replaced.

    Raises:
        UserError: A name is not a field.
    """
    known = flatten(config)
    for name in changes:
        if name not in known:
            raise UserError(f"unknown setting {name!r}; the settings are: {', '.join(known)}")
    direct = {name: value for name, value in changes.items() if "." not in name}
    nested: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        if "." in name:
            head, rest = name.split(".", 1)
            nested.setdefault(head, {})[rest] = value
    for head, inner in nested.items():
        direct[head] = override(getattr(config, head), inner)
    return replace(config, **direct)  # type: ignore[type-var]  # T is a dataclass by contract


def digest(config: Any) -> str:
    """Return 12 hexadecimal digits that change whenever any value does."""
    text = json.dumps(_plain(config), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plain(config: Any) -> Any:
    """Return nested dataclasses as dictionaries, without later settings that were left alone."""
    if not is_dataclass(config) or isinstance(config, type):
        return config
    values = [(leaf, getattr(config, leaf.name)) for leaf in fields(config)]
    told = ((k, v) for k, v in values if "later" not in k.metadata or v != k.default)
    return {leaf.name: _plain(value) for leaf, value in told}
