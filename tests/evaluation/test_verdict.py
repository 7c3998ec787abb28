"""The sentence: every way in which a comparison can come out."""

from dataclasses import replace

import pytest

from hicray.evaluation.verdict import verdict
from tests.evaluation.results import result_of

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
        ({"noseq": 0.5, "seq": 0.6, "blank": 0.6}, "not shown to beat blank ("),
        ({"noseq": 0.5, "seq": 0.6, "composition": 0.6}, "not shown to beat composition ("),
        (
            {"noseq": 0.5, "seq": 0.6, "seq, shuffled DNA": 0.6},
            "not shown to beat seq, shuffled DNA (",
        ),
        ({"noseq": 0.5, "seq": 0.6, "elsewhere": 0.6}, "not shown to beat elsewhere ("),
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
    assert "not shown to beat blank (" in said[1]
    assert "too few windows to judge" in said[1]
    assert "nan" not in said[1]


def with_bits(result, level):
    """Put bits per read around a level for seq - noseq."""
    scores = dict(result.differences["seq", "noseq"])
    gain = scores["oe_pearson"]
    scores["bits_per_read"] = gain._replace(
        mean=level, low=level - 0.001, high=level + 0.001, seeds=3
    )
    return replace(result, differences=dict(result.differences) | {("seq", "noseq"): scores})


def test_a_gain_that_bits_per_read_do_not_show_may_be_coverage():
    result = result_of({"noseq": 0.5, "seq": 0.6})
    said = verdict([with_bits(result, 0.0)])
    assert "DNA helped" not in said
    assert "seq beat noseq by +0." in said
    assert "bits per read do not show it (+0 " in said
    assert said.endswith("so that coverage may be what was learnt.")
    unknown = verdict([with_bits(result, float("nan"))])
    assert "bits per read are unknown, so that coverage may be what was learnt" in unknown
    both = verdict([with_bits(result, 0.004)])
    assert "DNA helped: +0." in both
    assert "and +0.004 bits per read against noseq" in both


def test_bits_per_read_alone_are_said_but_are_no_help():
    said = verdict([with_bits(result_of({"noseq": 0.5, "seq": 0.5}), 0.004)])
    assert "DNA did not help measurably" in said
    assert "though bits per read rose by +0.004" in said
