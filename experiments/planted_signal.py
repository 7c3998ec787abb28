"""The positive control: DNA decides the fine structure, so a platform that works must show it.

On the simulated map loops, stripes and domains are written in the DNA by one motif, and the coarse
map only hints at them. Every arm is trained alike, with several seeds, and judged on chromosomes
that nothing saw. Beside it stand two more simulations: one whose visibility (a bias, which
balancing removes) is written in the DNA but whose structure is not, where nothing may be gained;
and one without stripes, whose loops alone are written in the DNA.

Every run trains until its validation score stops rising, or to a ceiling of epochs: short of the
plateau a comparison says how fast DNA is learnt, not what it adds.

Command (8 minutes on 16 cores, an hour on 2; a killed run goes on where it stopped):

    python experiments/planted_signal.py

Expected: noseq beats every filter at both gaps; at the 4x gap seq beats noseq and blank, with
intervals that exclude zero, and gains more than at 2x; shuffled or another locus' DNA gives
nothing, nor does training on another locus' DNA, nor the report's arrangement (one pooled embedding
that joins as a token); nor anything in the negative control. The truth of the simulation is used
for judging alone.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import tyro
from planted.truth import noise_free, read_motif

from hicray.cli.data_set import prepare_shards
from hicray.cli.defaults import SIMULATED
from hicray.cli.guard import guarded, say
from hicray.comparison.arms import gain_over_gaps, load, score_arms, windows_of
from hicray.comparison.learning import learnt
from hicray.comparison.page import page
from hicray.comparison.pictures import figures, file_name
from hicray.comparison.results import (
    BLANK,
    COMPOSITION,
    ELSEWHERE,
    JUDGED,
    NOSEQ,
    RATES,
    SEQ,
    SHUFFLED,
    SPLIT,
    SWAPPED,
    GapResult,
)
from hicray.comparison.table import render
from hicray.config import DataConfig, ModelConfig, Run, TrialConfig
from hicray.evaluation.rivals import CEILING
from hicray.evaluation.window_set import HeldOutWindows
from hicray.figures import Picture, motif_reading, png
from hicray.metrics.paired import Difference
from hicray.metrics.scores import LABELS, OBJECTIVE
from hicray.model.checkpoint import read_progress
from hicray.simulation.simulate import Simulation, SimulationConfig, simulate
from hicray.training.sweep import open_data, require_seeds, sweep
from hicray.windows.manifest import Manifest, ShardSet

CHROMOSOMES, TRAINED = 42, 30
"""A dozen test chromosomes, so that intervals are narrow where nothing should be gained."""
STRIDE_BINS = 16
HIDDEN_DNA = 0.5
"""Long training learns a genome by heart that always shows."""
TOKENS, REPORT = "tower, tokens alone", "the report's (pooled, tokens alone)"
PAIR: dict[str, ModelConfig] = {NOSEQ: ModelConfig(sequence="off"), SEQ: ModelConfig()}
FULL: dict[str, ModelConfig] = PAIR | {
    BLANK: ModelConfig(sequence="blank"),
    COMPOSITION: ModelConfig(sequence="composition"),
    ELSEWHERE: ModelConfig(sequence="elsewhere"),
    TOKENS: ModelConfig(fusion="tokens"),
    REPORT: ModelConfig(dna="pooled", fusion="tokens"),
}
PLANTED, NEGATIVE, LOOPS = "planted", "negative", "loops"
TITLES = {
    PLANTED: "loops, stripes and domains written in the DNA",
    NEGATIVE: "visibility written in the DNA, structure not",
    LOOPS: "no stripes: loops and domains alone written in the DNA",
}
_SMALL = 0.1
"""Share of the gain at 4x under which a control has gained nothing."""
QUESTION = "Are the encoder's strongest filters the planted motif?"
SIMULATIONS = {
    PLANTED: SimulationConfig(num_chromosomes=CHROMOSOMES),
    NEGATIVE: SimulationConfig(
        num_chromosomes=CHROMOSOMES, structure_in_dna=False, visibility_in_dna=True
    ),
    LOOPS: SimulationConfig(num_chromosomes=CHROMOSOMES, stripe_strength=0.0),
}
_NAMES = [f"chr{number}" for number in range(1, CHROMOSOMES + 1)]
SPLIT_TEXT = f"val={','.join(_NAMES[TRAINED - 3 : TRAINED])};test={','.join(_NAMES[TRAINED:])}"
ARMS: dict[tuple[str, int], dict[str, ModelConfig]] = {
    (PLANTED, 4): FULL,
    (PLANTED, 2): PAIR,
    (NEGATIVE, 4): PAIR,
    (LOOPS, 4): PAIR,
}
"""By simulation and gap."""


@dataclass(frozen=True)
class Options:
    """What the control costs."""

    storage: str = "runs/planted_signal"
    """Folder of simulations, shards, checkpoints and the report."""
    seeds: int = 3
    """Training seeds of each arm (one for the pooled encoder, the slowest by far)."""
    epochs: int = 24
    """Epochs of each run at most."""
    patience: int = 6
    """Epochs in a row without a better validation score that end a run."""
    report_arm: bool = True
    """Train the report's arrangement too, whose pooled encoder takes longer than all the rest."""


@dataclass(frozen=True)
class Case:
    """One simulation, cut into shards."""

    simulation: Simulation
    shards: ShardSet

    @property
    def manifest(self) -> Manifest:
        """Of the shard set."""
        return self.shards.manifest


def open_case(name: str, options: Options) -> Case:
    """Simulate and prepare, or take what is there."""
    storage, config = Path(options.storage) / name, SIMULATIONS[name]
    made = simulate(storage / "simulation", config)
    data: DataConfig = replace(
        SIMULATED.data,
        contacts=tuple(map(str, made.contacts)),
        genome=str(made.genome),
        split=SPLIT_TEXT,
        train_stride_bins=STRIDE_BINS,
    )
    return Case(made, prepare_shards(data, Run(storage=str(storage))))


def train(
    case: Case, gap: int, arms: dict[str, ModelConfig], options: Options
) -> dict[str, list[Path]]:
    """Train every arm with every seed; return the checkpoints of each arm."""
    size = gap * case.manifest.fine_bin_size
    data = open_data(case.shards, size)
    trials = {
        (arm, seed): TrialConfig(
            coarse_bin_size=size,
            model=model,
            train=replace(
                SIMULATED.train,
                epochs=options.epochs,
                patience=options.patience,
                seed=seed,
                hidden_dna=HIDDEN_DNA,
            ),
        )
        for seed in range(options.seeds)
        for arm, model in arms.items()
        if arm != REPORT or (seed == 0 and options.report_arm)
    }
    folders = sweep(trials, data, case.simulation.folder.parent / f"gap_{gap}")
    named = {arm: [folder for (own, _), folder in folders.items() if own == arm] for arm in arms}
    return {arm: own for arm, own in named.items() if own}


def test_windows(case: Case, size: int, folders: dict[str, list[Path]]) -> HeldOutWindows:
    """Return the test windows of one gap, with all that the arms read."""
    trials = {arm: [read_progress(folder).trial for folder in own] for arm, own in folders.items()}
    return windows_of(trials, case.shards, size, "test")


def judge_case(case: Case, gap: int, folders: dict[str, list[Path]]) -> GapResult:
    """Score all rows of one simulation at one gap on its test chromosomes."""
    size = gap * case.manifest.fine_bin_size
    truth = noise_free(case.simulation, test_windows(case, size, folders))
    result = score_arms(folders, case.shards, size, more=truth)
    curves = {arm: _curves(own[0]) for arm, own in folders.items()}
    learning = {arm: [learnt(folder) for folder in own] for arm, own in folders.items()}
    return replace(result, curves=curves, learning=learning)


def _curves(folder: Path) -> dict[str, list[float]]:
    history = read_progress(folder).history
    return {part: [epoch[f"{part}_loss"] for epoch in history] for part in ("train", "val")}


def gain(result: GapResult, ours: str = SEQ, theirs: str = NOSEQ) -> Difference:
    """Return a difference in O/E Pearson."""
    return result.differences[ours, theirs][OBJECTIVE]


def checks(results: dict[tuple[str, int], GapResult]) -> list[tuple[str, Difference, bool]]:
    """Return what has to come out, what did, and whether that is it."""
    wide, near, negative = (results[k] for k in ((PLANTED, 4), (PLANTED, 2), (NEGATIVE, 4)))
    one, blank = gain(wide), gain(wide, SEQ, BLANK)
    found = [
        ("4x: seq - noseq is above 0", one, one.positive),
        ("4x: seq - blank is above 0", blank, blank.positive),
    ]
    found += [
        (f"seq - noseq is larger at 4x than at 2x, {LABELS[score]}", more, more.positive)
        for score, more in gain_over_gaps(wide, near).items()
    ]
    for what, result in (("4x", wide), ("2x", near)):
        beaten = result.differences[NOSEQ, result.best_filter]
        found += [
            (f"{what}: noseq - {result.best_filter} is above 0, {LABELS[score]}", one, one.positive)
            for score, one in beaten.items()
            if score in JUDGED
        ]
    arms = [name for name in (SHUFFLED, SWAPPED, TOKENS, REPORT) if name in wide.rows]
    nothing = {f"4x: {name}": gain(wide, name) for name in arms}
    nothing["4x: trained on another locus' DNA"] = gain(wide, ELSEWHERE)
    nothing["structure not in the DNA: seq"] = gain(negative)
    # A wide interval that holds 0 would show nothing: its upper end has to be small.
    most = _SMALL * one.mean
    return found + [
        (f"{name} - noseq is under a tenth of that gain", d, d.high < most)
        for name, d in nothing.items()
    ]


def closed(result: GapResult, truth: str) -> float:
    """Return the share of the way from noseq to a row that knows the truth that seq goes."""
    seq, noseq, known = (result.rows[n].windows(OBJECTIVE).mean() for n in (SEQ, NOSEQ, truth))
    return float((seq - noseq) / (known - noseq))


def state(cases: dict[str, Case], results: dict[tuple[str, int], GapResult]) -> str:
    """Return the statement in Markdown: tables of every simulation, checks, and the sentence."""
    parts = []
    for name, case in cases.items():
        own = [result for (one, _), result in results.items() if one == name]
        parts.append(f"## Simulation: {TITLES[name]}\n\n{render(own, case.manifest)}")
    found = checks(results)
    lines = ["## Checks", "", "| what must come out | found | holds |", "| --- | --- | --- |"]
    lines += [f"| {what} | {d} | {'yes' if holds else 'NO'} |" for what, d, holds in found]
    loops, wide = gain(results[LOOPS, 4]), results[PLANTED, 4]
    shares = f"{closed(wide, RATES):.0%} of the way from noseq to the noise-free rates"
    shares += f" and {closed(wide, SPLIT):.0%} of the way to the coarse counts split by them"
    ceiling, oracle = (wide.rows[name].windows(OBJECTIVE).mean() for name in (CEILING, RATES))
    shares += f"; the ceiling from halves of the reads is {ceiling:.3f}, the noise-free rates "
    shares += f"score {oracle:.3f}"
    failed = [what for what, _, holds in found if not holds]
    outcome = (
        f"{len(failed)} of {len(found)} checks fail: {'; '.join(failed)}"
        if failed
        else (f"All {len(found)} checks hold")
    )
    sentence = f"**{outcome}. At the 4x gap seq goes {shares}; loops alone give {loops}.**"
    return "\n".join([*parts, "", *lines, "", sentence])


def motif(case: Case, folders: dict[str, list[Path]]) -> tuple[str, Picture]:
    """Return whether the first seq network reads the planted motif, and the picture of it."""
    windows = test_windows(case, 4 * case.manifest.fine_bin_size, folders)
    reading = read_motif(load(folders[SEQ][0], case.manifest), case.simulation, windows)
    profiles = {
        "at the planted motifs": (reading.offsets, reading.at_motifs),
        "at random places": (reading.offsets, reading.elsewhere),
    }
    motifs = {"planted": reading.planted}
    motifs |= {
        f"filter {i + 1}: {r:.2f}": reading.filters[i] for i, r in enumerate(reading.likeness)
    }
    return str(reading), motif_reading(profiles, motifs, QUESTION)


def main(options: Options) -> None:
    require_seeds(options.seeds)
    cases = {name: open_case(name, options) for name in dict.fromkeys(name for name, _ in ARMS)}
    # All at once, so that no CPU waits for the last run of a case.
    with ThreadPoolExecutor() as pool:
        running = {
            (name, gap): pool.submit(train, cases[name], gap, arms, options)
            for (name, gap), arms in ARMS.items()
        }
        folders = {key: one.result() for key, one in running.items()}
    results = {(n, gap): judge_case(cases[n], gap, own) for (n, gap), own in folders.items()}
    text = state(cases, results)
    pictures = figures([results[PLANTED, 4], results[PLANTED, 2]], cases[PLANTED].manifest)
    answer, pictures[QUESTION] = motif(cases[PLANTED], folders[PLANTED, 4])
    body, sentence = text.rsplit("\n\n", 1)
    text = f"{body}\n\n{QUESTION} {answer}\n\n{sentence}"
    out = Path(options.storage) / "report"
    out.mkdir(exist_ok=True)
    (out / "planted_signal.md").write_text(text + "\n")
    (out / "planted_signal.html").write_text(page("The planted signal", text, pictures))
    for name, one in pictures.items():
        (out / f"{file_name(name)}.png").write_bytes(png(one))
    say("", text, "", f"page: {out / 'planted_signal.html'}")


if __name__ == "__main__":
    guarded(lambda: main(tyro.cli(Options)))
