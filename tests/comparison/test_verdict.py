"""The sentence: every way in which a comparison can come out."""

from dataclasses import replace

import numpy as np
import pytest

from hicray.comparison.verdict import verdict
from tests.comparison.results import result_of

SWAPS = {"seq, shuffled DNA": 0.5, "seq, another locus' DNA": 0.4, "elsewhere": 0.49}


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ({"noseq": 0.5, "seq": 0.6}, "DNA helped: +0."),
        (
            {"noseq": 0.5, "seq": 0.6, "blank": 0.5, **SWAPS},
            "beats blank; seq, shuffled DNA keeps at most +0.0",
        ),
        ({"noseq": 0.5, "seq": 0.5}, "did not help measurably"),
        ({"noseq": 0.5, "seq": 0.5, "composition": 0.6}, "though composition alone (GC, N, cut"),
        ({"noseq": 0.5, "seq": 0.4}, "DNA did harm: -0."),
        ({"noseq": 0.5, "seq": 0.6, "blank": 0.6}, "not shown to beat blank in O/E Pearson ("),
        (
            {"noseq": 0.5, "seq": 0.6, "composition": 0.6},
            "not shown to beat composition in O/E Pearson (",
        ),
        (
            {"noseq": 0.5, "seq": 0.6, "seq, shuffled DNA": 0.6},
            "not shown to beat seq, shuffled DNA in O/E Pearson (",
        ),
        (
            {"noseq": 0.5, "seq": 0.6, "elsewhere": 0.6},
            "not shown to beat elsewhere in bits per read (",
        ),
        ({"noseq": 0.5, "seq": 0.6, **SWAPS, "elsewhere": 0.52}, "elsewhere keeps +0.0"),
        ({"noseq": 0.5}, "seq and noseq were not both trained"),
    ],
)
def test_each_outcome_has_its_words(levels, words):
    assert words in verdict([result_of(levels)])


def test_too_few_windows_are_said():
    said = verdict([result_of({"noseq": 0.5, "seq": 0.6}, count=12)])
    assert "too few windows to say whether DNA helped: 12 in 3 blocks" in said


def test_gaps_are_clauses_of_one_sentence_that_says_how_sure():
    result = result_of({"noseq": 0.5, "seq": 0.6})
    said = verdict([result, result])
    assert said.count("16000->4000") == 2
    assert said.count("64 test windows, 3 training seeds") == 2
    assert said.endswith(".")


@pytest.mark.parametrize(("seeds", "scope"), [(1, "in this one training"), (2, "these two tr")])
@pytest.mark.parametrize(
    ("level", "words"), [(0.6, "DNA helped"), (0.5, "did not help measurably"), (0.4, "did harm")]
)
def test_few_seeds_speak_of_their_own_trainings_alone(seeds, scope, level, words):
    said = verdict([result_of({"noseq": 0.5, "seq": level}, seeds=seeds)])
    assert words in said
    assert said.count(scope) == 1 + said.count("is excluded")
    assert "in th" not in verdict([result_of({"noseq": 0.5, "seq": level})])


def test_controls_that_cannot_be_judged_or_trained_once_are_said_so():
    result = result_of({"noseq": 0.5, "seq": 0.6, "blank": 0.5})
    scores = result.differences["seq", "blank"]
    once = {name: one._replace(seeds=1) for name, one in scores.items()}
    few = {name: one._replace(low=float("nan"), high=float("nan")) for name, one in scores.items()}
    said = [
        verdict([replace(result, differences=dict(result.differences) | {("seq", "blank"): one})])
        for one in (once, few)
    ]
    assert "beats blank in this one training" in said[0]
    assert "not shown to beat blank in O/E Pearson (" in said[1]
    assert "too few windows to judge" in said[1]
    assert "nan" not in said[1]


UP, DOWN, FLAT = (0.1, 0.09, 0.11), (-0.1, -0.11, -0.09), (0.0, -0.01, 0.01)


@pytest.mark.parametrize(
    ("pearson", "bits", "words"),
    [
        (UP, UP, "DNA helped: +0.1 O/E Pearson (95 % interval +0.09 to +0.11)"),
        (UP, FLAT, "in O/E Pearson alone: +0.1 O/E Pearson"),
        (UP, DOWN, "coverage may be what was learnt"),
        (UP, (np.nan,) * 3, "coverage may be what was learnt"),
        (FLAT, UP, "in bits per read alone: +0 O/E Pearson"),
        (DOWN, UP, "so DNA is not shown to help"),
        (FLAT, FLAT, "did not help measurably"),
        (FLAT, DOWN, "did not help measurably"),
        (DOWN, FLAT, "DNA did harm"),
    ],
)
def test_dna_helped_only_where_both_scores_rise(pearson, bits, words):
    result = result_of({"noseq": 0.5, "seq": 0.6})
    scores = dict(result.differences["seq", "noseq"])
    for name, (mean, low, high) in {"oe_pearson": pearson, "bits_per_read": bits}.items():
        windows = 64 if np.isfinite(mean) else 0
        scores[name] = scores[name]._replace(mean=mean, low=low, high=high, windows=windows)
    said = verdict([replace(result, differences={("seq", "noseq"): scores})])
    assert words in said
    assert ("DNA helped" in said) == (pearson is UP and bits is UP)
    assert "bits per read" in said
    assert "nan" not in said


def test_a_control_that_gains_as_many_bits_is_a_doubt():
    result = result_of({"noseq": 0.5, "seq": 0.6, "composition": 0.5})
    scores = dict(result.differences["seq", "composition"])
    scores["bits_per_read"] = scores["bits_per_read"]._replace(mean=0.0, low=-0.01, high=0.01)
    differences = dict(result.differences) | {("seq", "composition"): scores}
    said = verdict([replace(result, differences=differences)])
    assert "DNA helped" not in said
    assert "it is not shown to beat composition in bits per read (+0 [-0.01, +0.01]" in said
