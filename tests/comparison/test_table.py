"""What is written down: numbers with n, spread and split; no NaN in JSON."""

import json
from dataclasses import replace

import pytest

from hicray.comparison.results import RATES, Row
from hicray.comparison.table import plain, render
from hicray.evaluation.rivals import CEILING, RIDGE
from tests.comparison.results import MANIFEST, gap_result, held_out, result_of


@pytest.fixture
def result(rng):
    rows = {
        "distance only": Row({0: held_out(rng, 0.4, 40, undefined=range(40))}),
        "noseq": Row({0: held_out(rng, 0.5, 40, undefined=[3])}),
        "seq": Row({0: held_out(rng, 0.6, 40)}),
    }
    return gap_result(rows)


def test_the_table_carries_gap_set_n_chromosomes_spread_and_settings(result):
    text = render([result], MANIFEST)
    assert "### 16000->4000 bp, test (n = 40 windows of chr9)" in text
    assert "| seq (depth 3) | 0." in text
    assert "±" in text
    assert "| distance only" in text
    assert "| O/E Pearson | bits per read | undefined | decay error |" in text
    line = next(x for x in text.splitlines() if x.startswith("| distance only"))
    assert line.split(" | ")[4] == "undefined"
    assert line.split(" | ")[5].startswith("0.3996 ±")
    assert line.split(" | ")[6] == "40"
    assert "nan" not in text


def test_the_difference_is_stated_with_its_interval_and_n(result):
    lines = render([result], MANIFEST).splitlines()
    line = next(x for x in lines if x.startswith("| seq - noseq | O/E Pearson"))
    assert "[+0.09" in line or "+0.10" in line
    assert "n = 39 windows in 10 blocks, in this one training" in line
    assert any(x.startswith("| seq - noseq | bits per read | +0.") for x in lines)
    near = next(x for x in lines if x.startswith("| 8,000 to 16,000 bp | +0."))
    assert near.count("in 10 blocks") == 2


def test_spread_over_seeds_and_leaks_are_shown(rng):
    rows = {"noseq": Row({i: held_out(rng, 0.5 + 0.1 * i, 40) for i in range(2)})}
    text = render([gap_result(rows, leak="leak: chr9")], MANIFEST)
    assert "| 2 (0.07" in text
    assert "**leak: chr9**" in text


def test_gains_at_two_gaps_are_compared_in_both_scores(result, rng):
    less = held_out(rng, 0.55, 40)
    bits = less.windows.assign(bits_per_read=result.rows["noseq"].runs[0].windows["bits_per_read"])
    rows = {**result.rows, "seq": Row({0: less._replace(windows=bits)})}
    near = gap_result(rows, gap="8000->4000", coarse_bin_size=8_000)
    pair = "seq - noseq at 16000->4000 bp less that at 8000->4000 bp"
    text = render([near, result], MANIFEST)
    (line,) = (one for one in text.splitlines() if one.startswith(pair))
    pearson, bits = line.split("; ")
    assert pearson.startswith(f"{pair}: O/E Pearson +0.0491 [")
    assert bits.startswith("bits per read +0.0999 [")
    found = plain([near, result], MANIFEST)["between_gaps"][pair]
    assert found["oe_pearson"]["mean"] == pytest.approx(0.05, abs=0.002)
    assert found["bits_per_read"]["mean"] == pytest.approx(0.1, abs=0.002)
    assert plain([result], MANIFEST)["between_gaps"] == {}


def test_a_missing_arm_is_said(rng):
    text = render([gap_result({"noseq": Row({0: held_out(rng, 0.5, 40)})})], MANIFEST)
    assert "were not both trained" in text


def test_the_statement_ends_with_one_sentence(result):
    last = render([result], MANIFEST).splitlines()[-1]
    assert last.startswith("**At 16000->4000 bp DNA helped")
    assert last.endswith(".**")


def test_json_holds_every_window_and_no_nan(result):
    values = plain([result], MANIFEST)
    text = json.dumps(values, allow_nan=False, default=lambda x: x.item())
    (noseq,) = json.loads(text)["gaps"]["16000->4000"]["rows"]["noseq"]
    assert noseq["windows"]["oe_pearson"][3] is None
    assert noseq["scores"]["oe_pearson"]["undefined"] == 1
    assert len(noseq["windows"]["row_start"]) == 40
    near = values["gaps"]["16000->4000"]["by_separation_bins"]
    assert {name: list(bands) for name, bands in near.items()} == {
        "oe_pearson": ["2-4", "4-8"],
        "bits_per_read": ["2-4", "4-8"],
    }


def test_the_number_of_configurations_of_each_arm_is_stated(result):
    counted = replace(result, tried={"noseq": 16, "seq": 16})
    text = render([counted], MANIFEST)
    assert "Distinct configurations tried at 16000->4000 bp: 16 of noseq, 16 of seq." in text
    assert plain([counted], MANIFEST)["gaps"]["16000->4000"]["configurations"]["seq"] == 16
    assert "Distinct configurations" not in render([result], MANIFEST)


def test_levels_by_separation_stand_beside_the_ceiling_and_noise_free_rates():
    known = {"noseq": 0.5, "seq": 0.6, RIDGE: 0.45, CEILING: 0.7, RATES: 0.69}
    result = replace(result_of(known), best_filter=RIDGE)
    rows = render([result], MANIFEST).splitlines()
    head = next(x for x in rows if x.startswith("| O/E Pearson by separation, 16000->4000 bp"))
    assert head.split(" | ")[1:] == [RIDGE, "noseq", "seq", RATES, f"{CEILING} |"]
    (near,) = (x for x in rows[rows.index(head) :] if x.startswith("| 8,000 to 16,000 bp | 0."))
    levels = [float(cell) for cell in near.strip("| ").split(" | ")[1:]]
    assert levels == pytest.approx([0.45, 0.5, 0.6, 0.69, 0.7], abs=0.002)
    assert not any(row.startswith("Above the ceiling") for row in rows)


def test_what_stands_above_the_ceiling_is_named_and_told_why():
    above = result_of({"noseq": 0.5, "seq": 0.6, CEILING: 0.55, RATES: 0.8})
    (said,) = (x for x in render([above], MANIFEST).splitlines() if x.startswith("Above"))
    assert said == (
        "Above the ceiling at 16000->4000 bp, no bound there: seq over all separations; seq at "
        "8,000 to 16,000 bp; seq at 16,000 to 32,000 bp (the coarse map is made of the fine one's "
        "reads, and knows their noise)."
    )
