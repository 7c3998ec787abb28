"""What a table has to say of the windows under it, beside its figures."""

from collections.abc import Mapping, Sequence

from hicray.config import TrialConfig, UserError
from hicray.evaluation.compared import Compared
from hicray.evaluation.held_out import WindowSet
from hicray.maps.assembly import HUMAN, human_assembly
from hicray.maps.bins import SplitName, bare
from hicray.maps.split import named_region
from hicray.windows.dna import has_elsewhere
from hicray.windows.manifest import Manifest

_HELD_OUT = frozenset({"4", "5", "11", "14"})
"""Human chromosomes that HiCFoundation's authors held out of its training."""


def no_elsewhere(windows: WindowSet) -> str:
    """Say so where windows of a set cannot be shown another locus' DNA; else nothing."""
    reader = windows.collate.reader
    flank = reader.flank_bins if reader else 0
    if has_elsewhere(windows.collate.manifest, windows.split, flank):
        return ""
    return (
        f"No control with another locus' DNA: the {windows.split} chromosomes are so short that "
        "what lies half of them away overlaps a window's own."
    )


def refuse_refits(trials: Mapping[str, Sequence[TrialConfig]]) -> None:
    """Refuse to score networks that were trained on all chromosomes.

    Args:
        trials: Configurations of each arm.

    Raises:
        UserError: One of them was.
    """
    for arm, own in trials.items():
        if any(trial.refit_epochs for trial in own):
            raise UserError(
                f"this {arm} is a refit, which saw the test chromosomes; give a trial of its search"
            )


def leaks(compared: Compared) -> list[str]:
    """Return whose networks were trained on what is scored, a sentence for each map that says so.

    Maps that hicray enhanced say what their network was trained on.
    """
    said = []
    for name, one in compared.others.items():
        sizes, trained = one.contacts.chromsizes, one.contacts.metadata().get("trained")
        regions = trained.get("chroms", ()) if isinstance(trained, dict) else ()
        learnt = {region.chrom for text in regions if (region := named_region(text, sizes))}
        if seen := [chrom for chrom in compared.chroms if chrom in learnt]:
            said.append(
                f"leak: the network that made {name} was trained on {', '.join(seen)}, so that its "
                "scores there say nothing of other chromosomes"
            )
    return said


def leak(trials: Sequence[TrialConfig], manifest: Manifest, split: SplitName) -> str:
    """Return what published weights may have seen of a set; empty where nothing."""
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
