"""One plain sentence: whether DNA helped, by how much, how sure; or that it cannot be said.

It rests on O/E Pearson and on bits per read of the set that was scored, seq minus noseq and its
controls: of sparse balanced maps O/E Pearson alone pays for guessing how well a bin is covered.
"""

from collections.abc import Sequence

from hicray.evaluation.paired import MIN_BLOCKS, Difference
from hicray.evaluation.results import (
    BLANK,
    COMPOSITION,
    ELSEWHERE,
    NOSEQ,
    SEQ,
    SHUFFLED,
    SWAPPED,
    GapResult,
)
from hicray.training.metrics import BITS, OBJECTIVE

_WRONG_DNA = (SHUFFLED, SWAPPED, ELSEWHERE)
_CONTROLS = (BLANK, COMPOSITION, *_WRONG_DNA)


def verdict(results: Sequence[GapResult]) -> str:
    """Return the sentence, a clause for each gap."""
    clauses = "; ".join(f"at {result.gap} bp {_clause(result)}" for result in results)
    return f"{clauses[:1].upper()}{clauses[1:]}."


def _clause(result: GapResult) -> str:
    gain = _find(result, SEQ, NOSEQ)
    if gain is None:
        return "nothing can be said, as seq and noseq were not both trained"
    if not gain.judged:
        return (
            f"there are too few windows to say whether DNA helped: {gain.windows} in "
            f"{gain.blocks} blocks of neighbours, where {MIN_BLOCKS} are needed"
        )
    size = f"{gain.mean:+.3g} O/E Pearson (95 % interval {gain.low:+.3g} to {gain.high:+.3g})"
    bits = _find(result, SEQ, NOSEQ, BITS)
    seeds = f"{gain.seeds} training seed{'s' if gain.seeds > 1 else ''}"
    n = f"{gain.windows} {result.split} windows, {seeds}"
    if gain.high < 0:
        return f"DNA did harm{_scope(gain)}: {size} against noseq, {n}"
    if gain.low <= 0:
        return (
            f"DNA did not help measurably{_scope(gain)}: {size} against noseq, {n}; a gain above "
            f"{gain.high:.3g} is excluded{_scope(gain)}{_aside(result, bits)}"
        )
    size += f" and {bits.mean:+.3g} bits per read" if bits and bits.positive else ""
    if doubts := [*_coverage(bits), *_doubts(result)]:
        return f"seq beat noseq{_scope(gain)} by {size}, {n}, but {', '.join(doubts)}"
    return f"DNA helped{_scope(gain)}: {size} against noseq, {n}{_support(result)}"


def _scope(gain: Difference) -> str:
    """Say of which trainings a statement is, where that is not of training in general."""
    return f" {gain.scope}" if gain.scope else ""


def _coverage(bits: Difference | None) -> list[str]:
    """Say so where the gain may be that coverage is guessed, which bits per read are blind to."""
    if bits is None or bits.positive:
        return []
    known = f"bits per read do not show it ({bits})" if bits.judged else "bits per read are unknown"
    return [f"{known}, so that coverage may be what was learnt"]


def _doubts(result: GapResult) -> list[str]:
    """Name the controls that seq is not better than."""
    rests = {control: _find(result, SEQ, control) for control in _CONTROLS}
    return [
        f"it is not shown to beat {control} ({rest})"
        for control, rest in rests.items()
        if rest is not None and rest.windows and not rest.positive
    ]


def _aside(result: GapResult, bits: Difference | None) -> str:
    """Say so where bits per read, or composition, gains what seq's O/E Pearson does not."""
    rose = f", though bits per read rose by {bits}" if bits and bits.positive else ""
    gain = _find(result, COMPOSITION, NOSEQ)
    if gain is None or not gain.positive:
        return rose
    return (
        f"{rose}, though composition alone (GC, N, cut sites) gained {gain.mean:+.3g}{_scope(gain)}"
    )


def _support(result: GapResult) -> str:
    """Name the controls that seq beats, and what wrong DNA keeps of the gain."""
    rests = {control: _find(result, SEQ, control) for control in (BLANK, COMPOSITION)}
    beaten = [f"{name}{_scope(rest)}" for name, rest in rests.items() if rest and rest.positive]
    parts = [f"beats {' and '.join(beaten)}"] if beaten else []
    wrong = {control: _find(result, control, NOSEQ) for control in _WRONG_DNA}
    gains = {control: gain for control, gain in wrong.items() if gain is not None and gain.judged}
    for control, gain in gains.items():
        kept = f"{gain.mean:+.3g}" if gain.positive else f"at most {max(gain.high, 0.0):+.3g}"
        parts.append(f"{control} keeps {kept} of it{_scope(gain)}")
    return f" ({'; '.join(parts)})" if parts else ""


def _find(result: GapResult, ours: str, theirs: str, score: str = OBJECTIVE) -> Difference | None:
    scores = result.differences.get((ours, theirs))
    return None if scores is None else scores[score]
