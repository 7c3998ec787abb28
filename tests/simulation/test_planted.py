from dataclasses import replace

import numpy as np
import pytest
from Bio.Seq import reverse_complement

from hicray.simulation.planted import (
    CellLine,
    SimulationConfig,
    chromosome_dna,
    contact_rates,
    plan_chromosome,
    random_pwm,
    visibility,
)

CONFIG = SimulationConfig(seed=3)
CELL = CellLine("cell_a")


def bases(config, plan):
    codes = chromosome_dna(config, "chr1", plan, random_pwm(config))
    return "".join("ACGTN"[code] for code in codes)


def per_bin(sequence):
    return [sequence[start : start + 128] for start in range(0, len(sequence), 128)]


def test_instances_follow_the_position_weight_matrix():
    config = replace(CONFIG, anchor_density=0.9, motif_mutation=0.12)
    plan = plan_chromosome(config, "chr1", 2_000 * 128)
    sequence, pwm = bases(config, plan), random_pwm(config)
    words = [sequence[start : start + 14] for start in plan.starts]
    strands = plan.anchors[plan.anchors != 0]
    read = [reverse_complement(w) if s < 0 else w for w, s in zip(words, strands, strict=True)]
    letters = np.array([list(word) for word in read])
    observed = np.stack([(letters == base).mean(axis=0) for base in "ACGT"], axis=1)
    spread = np.sqrt(pwm * (1 - pwm) / len(words))
    assert len(words) > 1_700
    assert np.all(np.abs(observed - pwm) < 4.5 * spread)


@pytest.mark.parametrize(("told", "slope"), [(True, 0.12), (False, 0.0)])
def test_gc_content_follows_compartments_only_where_asked(told, slope):
    config = replace(CONFIG, structure_in_dna=told)
    plan = plan_chromosome(config, "chr1", 2_000 * 128)
    gc = [(b.count("G") + b.count("C")) / 128 for b in per_bin(bases(config, plan))]
    found, mean = np.polyfit(plan.compartments, gc, 1)
    assert found == pytest.approx(slope, abs=0.01)
    assert mean == pytest.approx(0.45, abs=0.01)


def test_compartments_are_blocks_of_15_to_60_bins():
    tracks = [plan_chromosome(CONFIG, f"chr{n}", 600 * 128).compartments for n in range(20)]
    sizes = [np.diff(np.flatnonzero(np.diff(np.sign(track)))) for track in tracks]
    assert 15 <= min(map(min, sizes)) < 20
    assert 55 < max(map(max, sizes)) <= 60
    assert {np.sign(track[0]) for track in tracks} == {-1, 1}


def slow_log_structure(anchors, config):
    """Loops, stripes and insulation of every pixel by the definition, one pixel at a time."""
    n = len(anchors)
    plus, minus = ([k for k in range(n) if anchors[k] == sign] for sign in (1, -1))
    log = np.zeros((n, n))
    for i in range(n):
        for j in range(i, n):
            raised = 0.0
            for p in plus:
                for m in minus:
                    if 2 < m - p < 120 and abs(p - i) < 8 and abs(m - j) < 8:
                        passed = sum(anchors[k] != 0 for k in range(p + 1, m))
                        near = np.exp(-((p - i) ** 2 + (m - j) ** 2) / 2 / 0.6**2)
                        raised += config.loop_strength * 0.5**passed * near
            if i < j and anchors[i] == 1:
                raised += config.stripe_strength * 0.5 ** sum(i < m < j for m in minus)
            if i < j and anchors[j] == -1:
                raised += config.stripe_strength * 0.5 ** sum(i < p < j for p in plus)
            barriers = sum(anchors[k] != 0 for k in range(i + 1, j))
            log[i, j] = log[j, i] = min(raised, 2.0) - config.insulation * min(barriers, 4)
    return log


def test_rates_equal_the_formula_pixel_by_pixel():
    config = replace(CONFIG, anchor_density=0.15)
    cell = replace(CELL, depth=0.5, strength=0.7)
    plan = plan_chromosome(config, "chr1", 64 * 128 - 32)
    v, bins = visibility(config, cell, "chr1", 64), np.arange(64)
    compartments = 0.2 * np.outer(plan.compartments, plan.compartments)
    log = 0.7 * slow_log_structure(plan.anchors, config) + compartments + v[:, None] + v
    rates = 500 * (np.abs(bins[:, None] - bins) + 1.0) ** -0.8 * np.exp(log)
    rates[-1] *= 0.75
    rates[:, -1] *= 0.75
    assert (plan.anchors != 0).sum() > 5
    np.testing.assert_allclose(contact_rates(config, cell, plan, v), rates, rtol=1e-10)


def test_decay_exponent_is_recovered():
    config = replace(
        CONFIG,
        decay=1.1,
        insulation=0.0,
        loop_strength=0.0,
        stripe_strength=0.0,
        compartment_strength=0.0,
    )
    plan = plan_chromosome(config, "chr1", 600 * 128)
    v = visibility(config, CELL, "chr1", 600)
    rates, separation = contact_rates(config, CELL, plan, v), np.arange(100)
    counts = np.random.default_rng(0).poisson(rates)
    means = [np.diagonal(counts, s).mean() for s in separation]
    slope, intercept = np.polyfit(np.log(separation + 1), np.log(means), 1)
    assert slope == pytest.approx(-1.1, abs=0.02)
    assert np.exp(intercept) == pytest.approx(1000, rel=0.1)


def test_visibility_has_the_asked_deviation():
    drawn = visibility(CONFIG, CELL, "chr1", 100_000)
    assert np.std(drawn) == pytest.approx(0.1, rel=0.02)
    assert np.mean(drawn) == pytest.approx(0, abs=0.002)


@pytest.mark.parametrize("written", [False, True])
def test_cut_sites_tell_visibility_only_where_asked(written):
    config = replace(CONFIG, visibility_in_dna=written)
    plan = plan_chromosome(config, "chr1", 1_000 * 128)
    sites = [b.count("GAATTC") for b in per_bin(bases(config, plan))]
    v = visibility(config, CELL, "chr1", 1_000)
    correlation = np.corrcoef(sites, v)[0, 1]
    assert correlation > 0.9 if written else abs(correlation) < 0.1
    np.testing.assert_array_equal(v, visibility(CONFIG, CELL, "chr1", 1_000))
    other = visibility(config, replace(CELL, visibility_seed=1), "chr1", 1_000)
    assert np.array_equal(v, other) == written


def test_motifs_stay_within_their_bins_and_chromosome():
    config = replace(CONFIG, anchor_density=1.0)
    for shortfall in (0, 32, 100, 120):
        length = 50 * 128 - shortfall
        plan = plan_chromosome(config, "chr1", length)
        held = plan.starts // 128
        np.testing.assert_array_equal(held, np.flatnonzero(plan.anchors))
        np.testing.assert_array_equal(held, (plan.starts + 13) // 128)
        assert plan.starts[-1] + 14 <= length
        # Fewer bases than a motif has: no anchor in the last bin.
        assert (plan.anchors[-1] != 0) == (shortfall < 115)
