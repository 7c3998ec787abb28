"""One plain sentence: whether DNA helped, by how much, how sure; or that it cannot be said.

It rests on two scores of the set that was scored, seq minus noseq and its controls: O/E Pearson,
which sparse maps' coverage can buy, and bits per read, which it cannot. DNA helped where both rise.
"""

from collections.abc import Sequence

from hicray.comparison.results import (
    BLANK,
    COMPOSITION,
    ELSEWHERE,
    JUDGED,
    NOSEQ,
    SEQ,
    SHUFFLED,
    SWAPPED,
    GapResult,
)
from hicray.metrics.paired import MIN_BLOCKS, Difference
from hicray.metrics.scores import BITS, LABELS, OBJECTIVE

_WRONG_DNA = (SHUFFLED, SWAPPED, ELSEWHERE)
_CONTROLS = (BLANK, COMPOSITION, *_WRONG_DNA)


def verdict(results: Sequence[GapResult]) -> str:
    """Return the sentence, a clause for each gap."""
    clauses = "; ".join(f"at {result.gap} bp {_clause(result)}" for result in results)
    return f"{clauses[:1].upper()}{clauses[1:]}."


def _clause(result: GapResult) -> str:
    gain, bits = (_find(result, SEQ, NOSEQ, score) for score in JUDGED)
    if gain is None or bits is None:
        return "nothing can be said, as seq and noseq were not both trained"
    if not gain.judged:
        return (
            f"there are too few windows to say whether DNA helped: {gain.windows} in "
            f"{gain.blocks} blocks of neighbours, where {MIN_BLOCKS} are needed"
        )
    seeds = f"{gain.seeds} training seed{'s' if gain.seeds > 1 else ''}"
    n = f"{gain.windows} {result.split} windows, {seeds}"
    size, scope = f"{_size(gain, OBJECTIVE)} and {_size(bits, BITS)}", _scope(gain)
    if bits.positive and not gain.positive:
        return (
            f"seq beat noseq{scope} in bits per read alone: {size}, {n}, so DNA is not shown to "
            f"help{_aside(result)}"
        )
    if gain.high < 0:
        return f"DNA did harm{scope}: {size} against noseq, {n}"
    if gain.low <= 0:
        return (
            f"DNA did not help measurably{scope}: {size} against noseq, {n}; a gain above "
            f"{gain.high:.3g} O/E Pearson is excluded{scope}{_aside(result)}"
        )
    if not bits.positive:
        return (
            f"seq beat noseq{scope} in O/E Pearson alone: {size}, {n}; coverage may be what was "
            "learnt, as O/E Pearson pays for guessing it on sparse maps and bits per read does not"
        )
    if doubts := _doubts(result):
        return f"seq beat noseq{scope} by {size}, {n}, but {', '.join(doubts)}"
    return f"DNA helped{scope}: {size} against noseq, {n}{_support(result)}"


def _size(gain: Difference, score: str) -> str:
    name = LABELS[score]
    if not gain.windows:
        return f"undefined {name}"
    if not gain.judged:
        return f"{gain.mean:+.3g} {name} (too few windows to judge)"
    return f"{gain.mean:+.3g} {name} (95 % interval {gain.low:+.3g} to {gain.high:+.3g})"


def _scope(gain: Difference) -> str:
    """Say of which trainings a statement is, where that is not of training in general."""
    return f" {gain.scope}" if gain.scope else ""


def _doubts(result: GapResult) -> list[str]:
    """Name the controls that seq is not better than, in either score."""
    rests = {
        (control, score): _find(result, SEQ, control, score)
        for control in _CONTROLS
        for score in JUDGED
    }
    return [
        f"it is not shown to beat {control} in {LABELS[score]} ({rest})"
        for (control, score), rest in rests.items()
        if rest is not None and rest.windows and not rest.positive
    ]


def _aside(result: GapResult) -> str:
    """Say so where composition gains what seq does not."""
    gain = _find(result, COMPOSITION, NOSEQ)
    if gain is None or not gain.positive:
        return ""
    return f", though composition alone (GC, N, cut sites) gained {gain.mean:+.3g}{_scope(gain)}"


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
