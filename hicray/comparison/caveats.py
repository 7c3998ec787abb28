"""What a table has to say of the windows under it, beside its figures."""

from collections.abc import Mapping, Sequence

from hicray.config import TrialConfig, UserError
from hicray.evaluation.window_set import HeldOutWindows
from hicray.io.storage import locate
from hicray.maps.assembly import HUMAN, human_assembly
from hicray.maps.bins import SplitName, bare
from hicray.windows.bin_table import read_note
from hicray.windows.dna import has_elsewhere
from hicray.windows.manifest import Manifest

_HELD_OUT = frozenset({"4", "5", "11", "14"})
"""Human chromosomes that HiCFoundation's authors held out of its training."""


def no_elsewhere(windows: HeldOutWindows) -> str:
    """Say so where windows of a set cannot be shown another locus' DNA; else nothing."""
    collate = windows.collate
    flanks = [
        reader.flank_bins
        for reader in (collate.reader, collate.embeddings, collate.tracks)
        if reader is not None
    ]
    flank = max(flanks, default=0)
    if has_elsewhere(windows.collate.manifest, windows.split, flank):
        return ""
    return (
        f"No control with another locus' DNA: the {windows.split} chromosomes are so short that "
        "what lies half of them away overlaps a window's own."
    )


def no_shuffled(windows: HeldOutWindows) -> str:
    """Say so where a network reads stored embeddings and no shuffled DNA was embedded."""
    reader = windows.collate.embeddings
    if reader is None or reader.tables.shuffled is not None:
        return ""
    return (
        "No control with shuffled DNA: stored embeddings need a pass of their own over it, "
        "`hicray embed-dna --shuffled` with the other options as they were."
    )


def refuse_refits(trials: Mapping[str, Sequence[TrialConfig]]) -> None:
    """Refuse to score networks that were trained on all chromosomes.

    Args:
        trials: Configurations of each arm.

    Raises:
        UserError: One of them was.
    """
    for arm, configs in trials.items():
        if any(trial.refit_epochs for trial in configs):
            raise UserError(
                f"this {arm} is a refit, which saw the test chromosomes; give a trial of its search"
            )


def leak(trials: Sequence[TrialConfig], manifest: Manifest, split: SplitName) -> str:
    """Return what published weights may have seen of a set; empty where nothing.

    A published model of DNA was trained on parts of the whole genome.

    Args:
        trials: Configurations that are compared.
        manifest: Of the shard set.
        split: Set that is scored.
    """
    stored = {trial.model.dna_embeddings for trial in trials if trial.model.reads_embeddings}
    if stored:
        name = read_note(locate(stored.pop())).identity.get("model", "a model of DNA")
        return (
            f"leak: {name}, whose embeddings are read, may have been trained on the DNA of these "
            "chromosomes, and on what was measured there"
        )
    if all(trial.model.encoder == "scratch" for trial in trials):
        return ""
    chroms = list(dict.fromkeys(region.chrom for region in manifest.regions_of(split)))
    if not human_assembly(manifest.chromsizes, chroms):
        return (
            "leak: what the published encoder has seen of this genome cannot be known, as its "
            f"chromosomes are not as long as those of {' or '.join(HUMAN)}"
        )
    seen = [chrom for chrom in chroms if bare(chrom) not in _HELD_OUT]
    if not seen:
        return ""
    return f"leak: the published encoder may have seen {', '.join(seen)} in its own training"
