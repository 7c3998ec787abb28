"""What a user may say about a model of DNA that is run over a genome; light to import."""

from dataclasses import dataclass

from hicray.config import StoredPrecision


@dataclass(frozen=True, kw_only=True)
class EmbedDna:
    """A model of DNA and the genome that it is run over."""

    model: str
    """enformer, borzoi, tower (of a checkpoint of seq), torchscript, or MODULE:FUNCTION that makes
    a model of one's own."""
    genome: str
    """FASTA, plain or BGZF."""
    out: str
    """Folder for the table: one embedding for each bin and strand."""
    bin_size: int = 4_000
    """Fine bins of the maps, in bp."""
    weights: str = ""
    """File of weights; for tower, a checkpoint or trial; for torchscript, the file of the model."""
    chroms: tuple[str, ...] = ()
    """Chromosomes to embed; all of the FASTA if not given."""
    shuffled: bool = False
    """Embed DNA whose dinucleotides are shuffled, into --out/shuffled: a control, which costs a
    pass of its own."""
    components: int = 0
    """Keep so many principal components, fitted on the split's training chromosomes; 0: all."""
    split: str = "orca"
    """Split whose training chromosomes the components are fitted on."""
    projection: str = ""
    """Table whose components are taken as they are, as for the genome of another species."""
    precision: StoredPrecision = "bf16"
    """Of the stored values."""
    batch_size: int = 1
    """Windows that the model reads at once."""
    use_gpu: bool = False
    """An actor on every GPU."""
    plan_only: bool = False
    """Say what it costs, and stop."""
