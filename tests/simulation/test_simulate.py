import json
from dataclasses import replace

import bioframe
import cooler
import cooltools
import numpy as np
import pandas as pd
import pyfaidx
import pytest
from Bio.Seq import reverse_complement

from hicray.config import UserError
from hicray.maps.bins import parse_split
from hicray.maps.split import Grid, assign
from hicray.simulation import simulate as module
from hicray.simulation.simulate import (
    CellLine,
    SimulationConfig,
    chromsizes,
    default_split,
    simulate,
)

SMALL = SimulationConfig(num_chromosomes=3, chromosome_bins=200, seed=3)
CELLS = (CellLine("cell_a"), CellLine("cell_b", depth=0.25, strength=0.5, visibility_seed=1))


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("simulation"), SMALL, CELLS)


def sum_levels(base, out, sizes):
    cooler.zoomify_cooler(str(base), str(out), sizes, chunksize=1_000_000)


@pytest.fixture
def quick(monkeypatch):
    """Leave out the balancing, which takes most of the time, where raw counts are enough."""
    monkeypatch.setattr(module, "write_levels", sum_levels)


def counts(simulation, chrom, cell=0, factor=1):
    uri = f"{simulation.contacts[cell]}::/resolutions/{factor * simulation.config.bin_size}"
    return cooler.Cooler(uri).matrix(balance=False).fetch(chrom)


def motif_scores(sequence, pwm):
    """Score every window of a strand, in bits above a uniform background."""
    codes = np.array(["ACGT".index(base) for base in sequence])
    places = np.lib.stride_tricks.sliding_window_view(codes, len(pwm))
    return np.log2(pwm[np.arange(len(pwm)), places] / 0.25).sum(axis=1)


def both_strands(sequence, pwm):
    forward = motif_scores(sequence, pwm)
    return forward, motif_scores(reverse_complement(sequence), pwm)[::-1]


def test_the_same_seed_gives_the_same_files_and_another_seed_others(tmp_path, simulation, quick):
    again = simulate(tmp_path / "again", SMALL, CELLS)
    other = simulate(tmp_path / "other", replace(SMALL, seed=4), CELLS)
    assert again.genome.read_bytes() == simulation.genome.read_bytes()
    assert other.genome.read_bytes() != simulation.genome.read_bytes()
    for name in ("motifs.tsv", "loops.bedpe", "boundaries.tsv", "pwm.tsv"):
        assert (again.truth / name).read_bytes() == (simulation.truth / name).read_bytes()
    np.testing.assert_array_equal(again.rates("chr2", "cell_b"), simulation.rates("chr2", "cell_b"))


def test_counts_are_the_same_again(tmp_path, simulation, quick):
    again = simulate(tmp_path, SMALL, CELLS)
    for cell, chrom in ((0, "chr1"), (1, "chr3")):
        np.testing.assert_array_equal(counts(again, chrom, cell), counts(simulation, chrom, cell))


def test_fasta_has_80_bases_a_line_and_the_maps_chromosomes(simulation):
    fasta = pyfaidx.Fasta(str(simulation.genome))
    sizes = chromsizes(SMALL)
    assert {name: len(fasta[name]) for name in fasta.keys()} == sizes  # noqa: SIM118
    lines = simulation.genome.read_text().splitlines()
    assert max(map(len, lines)) == 80
    for factor in (1, 2, 4):
        level = cooler.Cooler(f"{simulation.contacts[0]}::/resolutions/{factor * 128}")
        assert level.chromsizes.to_dict() == sizes
        assert np.isfinite(level.bins()["weight"][:]).mean() > 0.9


def test_some_chromosomes_end_within_a_bin_and_within_a_coarse_bin():
    sizes = list(chromsizes(SMALL).values())
    assert [size % 128 for size in sizes] == [0, 96, 64]
    assert [-(-size // 128) % 4 for size in sizes] == [0, 0, 3]


def test_motifs_lie_where_the_table_says_on_their_strand(simulation):
    fasta, pwm = pyfaidx.Fasta(str(simulation.genome)), simulation.pwm()
    motifs = simulation.motifs()
    assert set(motifs["strand"]) == {"+", "-"}
    # A consensus base is worth log2(0.97 / 0.25) bits: most instances lose one base at most.
    full = np.log2(pwm.max(axis=1) / 0.25).sum()
    one_off = full - np.log2(0.97 / 0.01)
    for chrom, table in motifs.groupby("chrom"):
        forward, backward = both_strands(str(fasta[chrom]), pwm)
        plus = table["strand"] == "+"
        starts = table["start"].to_numpy()
        at = np.where(plus, forward[starts], backward[starts])
        wrong = np.where(plus, backward[starts], forward[starts])
        assert np.mean(at >= one_off - 1e-6) > 0.8
        assert at.mean() > np.maximum(np.delete(forward, starts), -99).mean() + 40
        assert np.all(at > wrong)


def test_instances_can_be_told_from_chance(simulation):
    fasta, pwm = pyfaidx.Fasta(str(simulation.genome)), simulation.pwm()
    anchored, free = [], []
    for chrom, table in simulation.boundaries().groupby("chrom"):
        best = np.maximum(*both_strands(str(fasta[chrom]), pwm))
        per_bin = [best[start : start + 115].max() for start in range(0, len(best) - 64, 128)]
        anchor = np.isin(np.arange(len(per_bin)), table["start"] // 128)
        anchored.extend(np.array(per_bin)[anchor])
        free.extend(np.array(per_bin)[~anchor])
    threshold = np.quantile(anchored, 0.05)
    assert np.mean(np.array(free) >= threshold) < 0.01


def test_each_anchor_bin_holds_one_motif_of_its_strand(simulation):
    motifs, boundaries = simulation.motifs(), simulation.boundaries()
    np.testing.assert_array_equal(motifs["start"] // 128 * 128, boundaries["start"])
    assert np.all(motifs["end"] <= boundaries["end"])
    assert motifs["strand"].tolist() == boundaries["strand"].tolist()


def test_coarse_levels_are_block_sums_of_the_fine_one(simulation):
    for chrom in chromsizes(SMALL):
        fine = np.triu(counts(simulation, chrom))
        for factor in (2, 4):
            padded = np.pad(fine, (0, -len(fine) % factor))
            blocks = padded.reshape(len(padded) // factor, factor, -1, factor).sum(axis=(1, 3))
            np.testing.assert_array_equal(np.triu(counts(simulation, chrom, factor=factor)), blocks)


def test_counts_are_poisson_around_the_rates(simulation):
    z, chi_square, num_pixels = [], 0.0, 0
    for chrom in chromsizes(SMALL):
        upper = np.triu_indices(len(simulation.rates(chrom, "cell_a")))
        rates = simulation.rates(chrom, "cell_a").astype(float)[upper]
        drawn = counts(simulation, chrom)[upper]
        for part in np.array_split(np.argsort(rates), 20):
            z.append((drawn[part].sum() - rates[part].sum()) / np.sqrt(rates[part].sum()))
        chi_square += np.sum((drawn - rates) ** 2 / rates)
        num_pixels += len(rates)
    assert np.max(np.abs(z)) < 4.5
    # The statistic's own variance is 2 + 1 / rate per pixel, and rates are well above 1.
    assert abs(chi_square - num_pixels) < 5 * np.sqrt(3 * num_pixels)


def test_loops_stand_out_of_their_surroundings(simulation):
    loops = simulation.loops().query("strength == 2.0")
    ratios = []
    for row in loops.itertuples():
        observed = counts(simulation, row.chrom1).astype(float)
        i, j = row.start1 // 128, row.start2 // 128
        expected = np.diagonal(observed, j - i).mean()
        ratios.append(observed[i, j] / expected)
    assert len(ratios) >= 5
    assert np.median(ratios) > 3
    assert np.mean(np.array(ratios) > 1.5) > 0.9


def test_loops_join_convergent_anchors(simulation):
    loops, anchors = simulation.loops(), simulation.boundaries()
    strand = {(row.chrom, row.start): row.strand for row in anchors.itertuples()}
    assert {strand[row.chrom1, row.start1] for row in loops.itertuples()} == {"+"}
    assert {strand[row.chrom2, row.start2] for row in loops.itertuples()} == {"-"}
    apart = (loops["start2"] - loops["start1"]) // 128
    assert apart.between(3, 119).all()


def test_boundaries_are_where_insulation_is_low(tmp_path):
    strong = replace(SMALL, insulation=0.5, stripe_strength=0.0, anchor_density=0.05)
    simulation = simulate(tmp_path, strong)
    clr = cooler.Cooler(f"{simulation.contacts[0]}::/resolutions/128")
    window = 10 * 128
    table = cooltools.insulation(clr, [window], ignore_diags=2)
    minima = table[table[f"boundary_strength_{window}"] > 0]
    truth = simulation.boundaries()
    found = bioframe.closest(truth, minima[["chrom", "start", "end"]])["distance"] <= 128
    drawn = table.sample(len(truth), random_state=0)[["chrom", "start", "end"]]
    by_chance = bioframe.closest(drawn, minima[["chrom", "start", "end"]])["distance"] <= 128
    assert found.mean() > 0.7
    assert found.mean() > by_chance.mean() + 0.2
    # Near a chromosome's end the diamond is cut off, and its score says little.
    ends = table["chrom"].map(chromsizes(strong)).astype(int)
    whole = table[(table["start"] >= window) & (table["end"] <= ends - window)]
    score = whole.set_index(["chrom", "start"])[f"log2_insulation_score_{window}"].dropna()
    anchored = score.index.isin(pd.MultiIndex.from_frame(truth[["chrom", "start"]]))
    error = score.std() / np.sqrt(anchored.sum())
    assert score[anchored].mean() < score[~anchored].mean() - 4 * error


def test_visibility_is_recovered_from_counts(simulation):
    """Counts over the rates without visibility give it back, one mean per row."""
    for cell, name in enumerate(("cell_a", "cell_b")):
        told, found = [], []
        for chrom in chromsizes(SMALL):
            v = simulation.visibility(chrom, name)
            unbiased = simulation.rates(chrom, name) * np.exp(-v[:, None] - v)
            rows = np.log(counts(simulation, chrom, cell).sum(axis=1) / unbiased.sum(axis=1))
            told.extend(v)
            found.extend(rows)
        assert np.std(told) == pytest.approx(0.1, abs=0.012)
        assert np.std(found) == pytest.approx(0.1, abs=0.02)
        assert np.corrcoef(told, found)[0, 1] > 0.95


def test_without_structure_in_dna_the_maps_stay_and_the_motifs_go(tmp_path, simulation, quick):
    blank = simulate(tmp_path, replace(SMALL, structure_in_dna=False))
    np.testing.assert_array_equal(counts(blank, "chr2"), counts(simulation, "chr2"))
    pd.testing.assert_frame_equal(blank.boundaries(), simulation.boundaries())
    assert blank.motifs().empty
    fasta, pwm = pyfaidx.Fasta(str(blank.genome)), blank.pwm()
    limit = np.log2(pwm.max(axis=1) / 0.25).sum() - 3 * np.log2(0.97 / 0.01)
    for row in blank.boundaries().itertuples():
        bases = str(fasta[row.chrom][row.start : row.end])
        assert max(scores.max() for scores in both_strands(bases, pwm)) < limit


def test_cell_lines_share_dna_and_differ_in_depth_and_strength(simulation):
    deep, shallow = (counts(simulation, "chr1", cell) for cell in (0, 1))
    assert len(list(simulation.folder.glob("*.fa"))) == 1
    rates = [simulation.rates("chr1", cell.name) for cell in CELLS]
    assert shallow.sum() / deep.sum() == pytest.approx(rates[1].sum() / rates[0].sum(), rel=0.01)
    assert 0.15 < shallow.sum() / deep.sum() < 0.35
    row = simulation.loops().query("chrom1 == 'chr1' and strength == 2.0").iloc[0]
    i, j = row["start1"] // 128, row["start2"] // 128
    oe = [rate[i, j] / np.diagonal(rate, j - i).mean() for rate in rates]
    assert oe[0] > 1.5 * oe[1]


def test_a_finished_simulation_is_taken_as_it_is(simulation):
    before = simulation.genome.stat().st_mtime_ns, simulation.contacts[0].stat().st_mtime_ns
    again = simulate(simulation.folder, SMALL, CELLS)
    assert again == simulation
    assert before == (again.genome.stat().st_mtime_ns, again.contacts[0].stat().st_mtime_ns)
    record = json.loads((simulation.folder / "simulation.json").read_text())
    assert record["config"]["seed"] == 3
    assert record["files"]["contacts"] == ["cell_a.mcool", "cell_b.mcool"]


@pytest.mark.parametrize("cells", [CELLS, CELLS[:1]])
def test_another_configuration_in_the_same_folder_is_refused(simulation, cells):
    config = replace(SMALL, seed=9) if cells == CELLS else SMALL
    with pytest.raises(UserError, match="give another"):
        simulate(simulation.folder, config, cells)


def test_an_interrupted_simulation_is_done_anew(tmp_path, simulation, monkeypatch):
    def stop(base, out, sizes):
        sum_levels(base, out, sizes)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_levels", stop)
    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path, SMALL, CELLS[:1])
    assert not (tmp_path / "simulation.json").exists()
    assert not (tmp_path / "cell_a.mcool").exists()
    monkeypatch.setattr(module, "write_levels", sum_levels)
    again = simulate(tmp_path, SMALL, CELLS[:1])
    np.testing.assert_array_equal(counts(again, "chr1"), counts(simulation, "chr1"))
    left = {path.name for path in tmp_path.iterdir()} - {"genome.fa.fai"}
    assert left == {"genome.fa", "cell_a.mcool", "truth", "simulation.json"}


def test_someone_elses_genome_is_not_overwritten(tmp_path):
    (tmp_path / "genome.fa").write_text(">mine\nACGT\n")
    with pytest.raises(UserError, match=r"genome\.fa"):
        simulate(tmp_path, SMALL)
    assert (tmp_path / "genome.fa").read_text() == ">mine\nACGT\n"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_chromosomes": 2}, "3 or more"),
        ({"chromosome_bins": 202}, "multiple of 4"),
        ({"bin_size": 32}, "64 bp or more"),
        ({"motif_length": 200}, "200 bp or more"),
    ],
)
def test_impossible_configurations_are_refused(tmp_path, changes, said):
    with pytest.raises(UserError, match=said):
        simulate(tmp_path, replace(SMALL, **changes))


def test_cell_lines_of_one_name_are_refused(tmp_path):
    with pytest.raises(UserError, match="distinct"):
        simulate(tmp_path, SMALL, (CellLine("a"), CellLine("a")))


@pytest.mark.parametrize(("chromosomes", "sizes"), [(48, (36, 4, 8)), (3, (1, 1, 1))])
def test_default_split_names_a_twelfth_and_a_sixth(chromosomes, sizes):
    config = SimulationConfig(num_chromosomes=chromosomes)
    split = parse_split(default_split(config))
    sets = list(assign(split, chromsizes(config), Grid(window=1, step=1)).values())
    assert tuple(sets.count(name) for name in ("train", "val", "test")) == sizes
