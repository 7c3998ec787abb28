"""What is written down: numbers with n, spread and split; no NaN in JSON."""

import json

import numpy as np
import pandas as pd
import pytest

from hicray.evaluation.held_out import HeldOut
from hicray.evaluation.paired import paired_difference
from hicray.evaluation.table import SHOWN, GapResult, plain, render
from hicray.training.metrics import SCORES
from hicray.windows.manifest import Manifest


@pytest.fixture
def manifest():
    return Manifest(
        plan="plan",
        fine_bin_size=4_000,
        coarse_bin_sizes=(16_000,),
        window_bins=224,
        diagonal_only=True,
        raw=False,
        eps=1.0,
        caps={},
        splits={"chr1": "train", "chr8": "val", "chr9": "test"},
        genome={},
        sources={},
        shards=(),
        dropped={},
    )


def held_out(rng, level, count, undefined=()):
    table = pd.DataFrame({name: rng.normal(level, 0.01, count) for name in SCORES})
    table.loc[list(undefined), "oe_pearson"] = np.nan
    place = {"group": 0, "row_start": np.arange(count) * 896_000}
    return HeldOut(table.assign(**place), 0.1)


@pytest.fixture
def result(rng):
    rows = {
        "distance only": held_out(rng, 0.4, 40, undefined=range(40)),
        "noseq": held_out(rng, 0.5, 40, undefined=[3]),
        "seq": held_out(rng, 0.6, 40),
    }
    pair = rows["seq"].windows, rows["noseq"].windows
    return GapResult(
        gap="16000->4000",
        coarse_bin_size=16_000,
        rows={"test": rows},
        differences={name: paired_difference(*pair, name) for name in SHOWN},
        settings={"seq": "depth 3"},
        examples={},
    )


def test_the_table_carries_gap_set_n_chromosomes_spread_and_settings(result, manifest):
    text = render([result], manifest)
    assert "### 16000->4000 bp, test (n = 40 windows of chr9)" in text
    assert "| seq (depth 3) | 0.6" in text
    assert "±" in text
    assert "| distance only" in text
    assert "| undefined | 40 |" in text
    assert "nan" not in text


def test_the_difference_is_stated_with_its_interval_and_n(result, manifest):
    line = next(x for x in render([result], manifest).splitlines() if "test, O/E" in x)
    assert "+0.1 [+0.09" in line or "+0.0" in line
    assert "n = 39 windows in 10 blocks" in line


def test_a_missing_arm_is_said(result, manifest):
    from dataclasses import replace

    text = render([replace(result, differences={})], manifest)
    assert "were not both trained" in text


def test_json_holds_every_window_and_no_nan(result, manifest):
    values = plain([result], manifest)
    text = json.dumps(values, allow_nan=False, default=lambda x: x.item())
    noseq = json.loads(text)["gaps"]["16000->4000"]["sets"]["test"]["noseq"]
    assert noseq["windows"]["oe_pearson"][3] is None
    assert noseq["scores"]["oe_pearson"]["undefined"] == 1
    assert len(noseq["windows"]["row_start"]) == 40
