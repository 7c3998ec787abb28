import shutil
from dataclasses import fields, replace

import cooler
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyfaidx
import pytest
import torch

from hicray.config import DataConfig
from hicray.maps.expected import smoothed
from hicray.maps.genome import read_packed
from hicray.maps.write import write_cool
from hicray.windows.collate import Collate
from hicray.windows.manifest import GENOME
from hicray.windows.scales import LOG_MAX, from_network
from hicray.windows.shards import prepare
from hicray.windows.stream import columns

pytestmark = pytest.mark.ray
BIN, WINDOW, FACTORS = 128, 64, (2, 4)
LETTERS = "ACGTN"
SPLIT = "train=chr1,chr3;val=chr2;test=chr6"


@pytest.fixture(scope="module")
def contacts(tiny_simulation, tmp_path_factory):
    """A copy of the simulated map, some of whose bins are unusable."""
    path = tmp_path_factory.mktemp("maps") / "map.mcool"
    shutil.copy(tiny_simulation.contacts[0], path)
    with h5py.File(path, "r+") as file:
        file["resolutions/128/bins/weight"][[20, 90]] = np.nan
        file["resolutions/512/bins/weight"][[3]] = np.nan
    return path


@pytest.fixture(scope="module")
def config(tiny_simulation, contacts):
    return DataConfig(
        contacts=(str(contacts),),
        genome=str(tiny_simulation.genome),
        fine_bin_size=BIN,
        coarse_bin_sizes=tuple(factor * BIN for factor in FACTORS),
        split=SPLIT,
        window_bins=WINDOW,
        max_distance=WINDOW * BIN,
        min_usable=0.5,
    )


@pytest.fixture(scope="module")
def folder(config, local_ray, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    prepare(config, folder)
    return folder


@pytest.fixture(scope="module")
def manifest(config, folder):
    return prepare(config, folder)


def table(folder, manifest, factor, splits=("train", "val", "test")):
    files = [folder / shard.file for split in splits for shard in manifest.files(split)]
    rows = pa.concat_tables(pq.read_table(file, columns=columns(factor * BIN)) for file in files)
    return rows.combine_chunks()


def diagonal_rows(rows):
    return rows.filter(pc.equal(rows["row_start"], rows["col_start"]))


@pytest.fixture(scope="module", params=FACTORS)
def decoded(request, folder, manifest):
    """Gap, collate, rows and the batch of all windows, on the diagonal and off it."""
    genome = read_packed(folder / GENOME)
    collate = Collate(manifest, request.param * BIN, genome)
    rows = table(folder, manifest, request.param)
    return request.param, collate, rows.to_pylist(), collate.decode(collate.compact(rows))


def dense(path, factor, chrom, balance=True):
    """Cooler's own symmetric matrix, zero at unusable bins and past the end."""
    clr = cooler.Cooler(f"{path}::/resolutions/{BIN * factor}")
    return np.pad(np.nan_to_num(clr.matrix(balance=balance).fetch(chrom)), (0, 2 * WINDOW))


def usable_bins(path, chrom):
    """By fine bin: usable at every level."""
    usable = np.ones(2 * WINDOW + 200, dtype=bool)
    for factor in (1, *FACTORS):
        clr = cooler.Cooler(f"{path}::/resolutions/{BIN * factor}")
        own = np.isfinite(clr.bins().fetch(chrom)["weight"].to_numpy())
        repeated = np.repeat(own, factor)[: len(clr.bins().fetch(chrom)) * factor]
        usable &= np.pad(repeated, (0, len(usable)))[: len(usable)]
    return usable


def scale(path, factor):
    clr = cooler.Cooler(f"{path}::/resolutions/{BIN * factor}")
    sums = [
        sum(np.nansum(np.triu(clr.matrix(balance=b).fetch(c))) for c in clr.chromnames)
        for b in (False, True)
    ]
    return sums[0] / sums[1]


def crop(matrix, row, factor=1):
    """The window of one row of a shard, in the map's own bins."""
    start, end = (row[f"{axis}_start"] // (BIN * factor) for axis in ("row", "col"))
    return matrix[start : start + WINDOW // factor, end : end + WINDOW // factor]


def network(contacts):
    return np.log10(contacts + 1) / np.log10(1001)


def coarse_contacts(contacts, factor, row):
    """Balanced coarse contacts per fine pixel, one fine pixel at a time."""
    own = crop(dense(contacts, factor, row["chrom"]), row, factor) * scale(contacts, factor)
    found = np.zeros((WINDOW, WINDOW))
    for i in range(row["num_rows"]):
        for j in range(row["num_cols"]):
            rows = min(factor, row["num_rows"] - i // factor * factor)
            cols = min(factor, row["num_cols"] - j // factor * factor)
            square = row["row_start"] != row["col_start"] or i // factor != j // factor
            pixels = rows * cols if square else rows * (rows + 1) // 2
            found[i, j] = own[i // factor, j // factor] / pixels
    return found


def test_windows_on_and_off_the_diagonal_are_in_one_batch(decoded):
    _, _, rows, batch = decoded
    assert set(batch.diagonal.tolist()) == {0, WINDOW}
    assert len(batch) == len(rows) > 20
    assert min(row["num_cols"] for row in rows) < WINDOW
    for row, diagonal, start in zip(rows, batch.diagonal, batch.row_start, strict=True):
        assert diagonal == (row["col_start"] - row["row_start"]) / BIN
        assert start == row["row_start"]


def test_targets_are_coolers_balanced_contacts_on_the_network_scale(contacts, decoded):
    _, _, rows, batch = decoded
    factor = scale(contacts, 1)
    for row, target, usable in zip(rows, batch.target, batch.usable, strict=True):
        expected = network(crop(dense(contacts, 1, row["chrom"]), row) * factor)
        np.testing.assert_allclose(target[usable], expected[usable], rtol=1e-5, atol=1e-6)
        assert (target[~usable] == 0).all()


def test_usable_pixels_are_those_of_two_bins_usable_at_every_level(contacts, decoded):
    _, _, rows, batch = decoded
    assert not batch.usable.all()
    for row, found in zip(rows, batch.usable, strict=True):
        usable = usable_bins(contacts, row["chrom"])
        pairs = crop(usable[:, None] & usable, row)
        np.testing.assert_array_equal(found, pairs)


def test_coarse_maps_are_balanced_contacts_per_fine_pixel(contacts, decoded):
    factor, _, rows, batch = decoded
    for row, coarse, target in zip(rows[::7], batch.coarse[::7], batch.target[::7], strict=True):
        expected = network(coarse_contacts(contacts, factor, row))
        np.testing.assert_allclose(coarse, expected, rtol=1e-4, atol=1e-6)
        assert coarse.mean() == pytest.approx(target.mean(), rel=0.25)  # one scale serves both


def test_images_are_upstreams_of_the_coarse_map(contacts, decoded):
    factor, _, rows, batch = decoded
    for row, image in zip(rows[::7], batch.image[::7], strict=True):
        counts = coarse_contacts(contacts, factor, row)
        if row["row_start"] == row["col_start"]:
            np.fill_diagonal(counts, 0)
        logs = np.log10(counts + 1)
        value = (logs.max() - logs) / logs.max()
        means, deviations = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        for channel, shown in enumerate((np.ones_like(value), value, value)):
            expected = (shown - means[channel]) / deviations[channel]
            np.testing.assert_allclose(image[channel], expected, rtol=1e-4, atol=1e-5)


def test_the_cap_touches_only_the_image(folder, manifest):
    sources = {
        name: replace(info, caps=dict.fromkeys(info.caps, 3.0))
        for name, info in manifest.sources.items()
    }
    capped = replace(manifest, sources=sources)
    rows = table(folder, manifest, 2)
    plain, small = (
        collate.decode(collate.compact(rows))
        for collate in (Collate(m, 256) for m in (manifest, capped))
    )
    for name in ("coarse", "base", "target", "total_reads"):
        torch.testing.assert_close(getattr(plain, name), getattr(small, name))
    counts = from_network(small.coarse).masked_fill(
        (torch.eye(WINDOW) == 1) & (small.diagonal == 0)[:, None, None], 0
    )
    shown = 1 - torch.log10(counts.clamp(max=3) + 1) / np.log10(4)
    torch.testing.assert_close(small.image[:, 1] * 0.224 + 0.456, shown, rtol=1e-4, atol=1e-4)


def mean_by_separation(contacts, factor):
    """Scaled mean over the usable pixels of the training chromosomes, smooth by separation."""
    clr = cooler.Cooler(f"{contacts}::/resolutions/{BIN * factor}")
    maps = [clr.matrix(balance=True).fetch(chrom) for chrom in ("chr1", "chr3")]
    by = [
        np.concatenate([np.diagonal(one, s) for one in maps]) for s in range(2 * WINDOW // factor)
    ]
    sums, pixels = np.transpose([(np.nansum(x), np.isfinite(x).sum()) for x in by])
    return smoothed(sums, pixels) * scale(contacts, factor)


def test_base_is_coarse_observed_over_expected_times_fine_expected(contacts, decoded):
    factor, _, rows, batch = decoded
    fine, coarse = mean_by_separation(contacts, 1), mean_by_separation(contacts, factor)
    to_reads = scale(contacts, factor)
    for row, base in zip(rows[::7], batch.base[::7], strict=True):
        own = crop(dense(contacts, factor, row["chrom"]), row, factor) * to_reads
        offset = (row["col_start"] - row["row_start"]) // BIN
        expected = np.zeros((WINDOW, WINDOW))
        for i in range(WINDOW):
            for j in range(WINDOW):
                apart = abs(offset // factor + j // factor - i // factor)
                ratio = own[i // factor, j // factor] / coarse[apart]
                expected[i, j] = network(ratio * fine[abs(offset + j - i)])
        np.testing.assert_allclose(base, expected, rtol=1e-4, atol=1e-6)


def test_reads_and_groups_are_those_of_the_source_and_chromosome(contacts, decoded):
    factor, collate, rows, batch = decoded
    clr = cooler.Cooler(f"{contacts}::/resolutions/{BIN * factor}")
    reads = sum(np.triu(clr.matrix(balance=False).fetch(c)).sum() for c in clr.chromnames)
    assert set(batch.total_reads.tolist()) == {reads}
    for row, group in zip(rows, batch.group.tolist(), strict=True):
        assert collate.groups[group] == (row["source"], row["chrom"])
    assert collate.fine_expected.shape == (len(collate.groups), 2 * WINDOW)
    expected = np.tile(mean_by_separation(contacts, 1), (len(collate.groups), 1))
    np.testing.assert_allclose(collate.fine_expected, expected, rtol=1e-5)


def letters(codes):
    return "".join(LETTERS[code] for code in codes.tolist())


def test_dna_is_pyfaidxs_on_both_axes_and_n_past_the_end(config, decoded):
    _, _, rows, batch = decoded
    fasta, length = pyfaidx.Fasta(config.genome), WINDOW * BIN
    beyond = 0
    for row, *axes in zip(rows, batch.row_bases, batch.col_bases, strict=True):
        for start, bases in zip((row["row_start"], row["col_start"]), axes, strict=True):
            own = str(fasta[row["chrom"]][start : start + length]).upper()
            assert letters(bases) == own.ljust(length, "N")
            beyond += len(own) < length
    assert beyond > 4


def test_flanks_are_the_dna_on_either_side_and_n_beyond_the_chromosome(config, folder, manifest):
    collate = Collate(manifest, 256, read_packed(folder / GENOME), flank_bins=3)
    rows = table(folder, manifest, 2)
    batch, fasta, flank = (
        collate.decode(collate.compact(rows)),
        pyfaidx.Fasta(config.genome),
        3 * BIN,
    )
    for row, bases in zip(rows.to_pylist(), batch.row_bases, strict=True):
        start, end = row["row_start"] - flank, row["row_start"] + WINDOW * BIN + flank
        own = str(fasta[row["chrom"]][max(start, 0) : end]).upper()
        assert letters(bases) == ("N" * max(-start, 0) + own).ljust(end - start, "N")


def test_windows_on_the_diagonal_carry_their_dna_once(folder, manifest):
    diagonal = replace(manifest, diagonal_only=True)
    collate = Collate(diagonal, 256, read_packed(folder / GENOME))
    batch = collate.decode(collate.compact(diagonal_rows(table(folder, manifest, 2))))
    assert batch.row_bases is not None
    assert batch.col_bases is None
    assert "col_bases" not in batch.arguments()


def test_without_sequence_no_genome_is_opened(folder, manifest, tmp_path):
    """Neither the packed genome nor the FASTA is there, and nothing is missed."""
    alone = tmp_path / "shards"
    shutil.copytree(folder, alone)
    (alone / GENOME).unlink()
    absent = replace(manifest, genome={"path": str(tmp_path / "none.fa"), "fingerprint": ""})
    collate = Collate(absent, 256)
    compact = collate.compact(table(alone, absent, 2))
    batch = collate.decode(compact)
    assert not [name for name in compact if "bases" in name]
    assert batch.row_bases is None
    assert batch.col_bases is None
    assert set(batch.arguments()) == {
        "image", "total_reads", "base", "expected", "evidence", "diagonal",
    }  # fmt: skip


def test_windows_decode_alike_alone_and_together(decoded, folder, manifest):
    """A diagonal window's counts are a triangle alone, a square beside one off the diagonal."""
    factor, collate, rows, batch = decoded
    everything = table(folder, manifest, factor)
    for place in range(0, len(rows), 9):
        single = collate.decode(collate.compact(everything.slice(place, 1).combine_chunks()))
        for name in values(batch):
            whole, one = (getattr(b, name) for b in (batch, single))
            torch.testing.assert_close(one[0], whole[place])


def values(batch):
    """Return what a batch has: all but tokens, which these shards do without."""
    return [field.name for field in fields(batch) if getattr(batch, field.name) is not None]


def assert_equal_batches(first, second):
    assert values(first) == values(second)
    for name in values(first):
        torch.testing.assert_close(getattr(first, name), getattr(second, name))


def test_reverse_complement_twice_is_identity(decoded):
    _, _, _, batch = decoded
    everything = torch.ones(len(batch), dtype=torch.bool)
    flipped = batch.reverse_complemented(everything)
    assert not torch.equal(flipped.target, batch.target)
    assert_equal_batches(flipped.reverse_complemented(everything), batch)


def test_only_the_chosen_windows_are_flipped(decoded):
    _, _, _, batch = decoded
    chosen = torch.arange(len(batch)) % 2 == 0
    everything = batch.reverse_complemented(torch.ones_like(chosen))
    some = batch.reverse_complemented(chosen)
    for name in values(batch):
        plain, full, part = (getattr(b, name) for b in (batch, everything, some))
        torch.testing.assert_close(part[chosen], full[chosen])
        torch.testing.assert_close(part[~chosen], plain[~chosen])


def test_flipped_windows_of_the_diagonal_stay_symmetric(decoded):
    _, _, _, batch = decoded
    flipped = batch.reverse_complemented(torch.ones(len(batch), dtype=torch.bool))
    on = batch.diagonal == 0
    for name in ("target", "coarse", "base"):
        maps = getattr(flipped, name)[on]
        torch.testing.assert_close(maps, maps.transpose(1, 2))


def write_levels(path, sizes, matrices):
    """An .mcool of given counts, without weights."""
    bins = {chrom: -(-length // BIN) for chrom, length in sizes.items()}
    tables, offset = [], 0
    for chrom, matrix in matrices.items():
        rows, cols = np.nonzero(np.triu(matrix))
        pixels = {"bin1_id": rows + offset, "bin2_id": cols + offset, "count": matrix[rows, cols]}
        tables.append(pd.DataFrame(pixels))
        offset += bins[chrom]
    base = path.with_suffix(".cool")
    write_cool(base, sizes, BIN, iter(tables))
    cooler.zoomify_cooler(
        str(base), str(path), [BIN * factor for factor in (1, *FACTORS)], chunksize=10**6
    )


def write_genome(path, sequences):
    path.write_text("".join(f">{chrom}\n{bases}\n" for chrom, bases in sequences.items()))


def raw_batches(config, folder, contacts, genome, factor):
    """Prepare raw counts and decode all windows, by chromosome and start."""
    raw = replace(config, contacts=(str(contacts),), genome=str(genome), raw=True, min_usable=0.3)
    raw = replace(raw, train_stride_bins=8, split="train=chr1;val=chr2;test=chr3")
    manifest = prepare(raw, folder)
    collate = Collate(manifest, factor * BIN, read_packed(folder / GENOME), flank_bins=2)
    rows = table(folder, manifest, factor)
    batch = collate.decode(collate.compact(rows))
    return rows.to_pylist(), batch


def test_a_window_of_the_reverse_complemented_genome_is_the_flipped_window(
    config, tiny_simulation, local_ray, tmp_path
):
    clr = cooler.Cooler(f"{tiny_simulation.contacts[0]}::/resolutions/128")
    fasta, length = pyfaidx.Fasta(str(tiny_simulation.genome)), 200 * BIN
    names = {"chr1": "chr1", "chr2": "chr4", "chr3": "chr1"}  # those that end with their last bin
    sizes = dict.fromkeys(names, length)
    found = {}
    for strand in ("forward", "reverse"):
        step = 1 if strand == "forward" else -1
        maps = {c: clr.matrix(balance=False).fetch(o)[::step, ::step] for c, o in names.items()}
        write_levels(tmp_path / f"{strand}.mcool", sizes, maps)
        bases = {c: fasta[o][:] if step == 1 else -fasta[o][:] for c, o in names.items()}
        write_genome(tmp_path / f"{strand}.fa", bases)
        files = tmp_path / f"{strand}.mcool", tmp_path / f"{strand}.fa"
        found[strand] = raw_batches(config, tmp_path / strand, *files, factor=4)
    (rows, forward), (other_rows, reverse) = found["forward"], found["reverse"]
    flipped = forward.reverse_complemented(torch.ones(len(forward), dtype=torch.bool))
    place = {(r["chrom"], r["row_start"], r["col_start"]): i for i, r in enumerate(other_rows)}
    compared = 0
    for i, row in enumerate(rows):
        mirrored = (length - row[f"{axis}_start"] - WINDOW * BIN for axis in ("col", "row"))
        j = place.get((row["chrom"], *mirrored))
        if j is None:
            continue  # a window that runs past the end has no partner
        compared += 1
        for field in ("image", "coarse", "base", "target", "usable", "row_bases", "col_bases"):
            one, other = getattr(flipped, field)[i], getattr(reverse, field)[j]
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert compared >= 20


def test_a_constant_map_comes_back_constant(config, local_ray, tmp_path):
    """Diagonal and last, partial bin included, at both gaps."""
    sizes = {"chr1": 201 * BIN - 5, "chr2": 198 * BIN, "chr3": 131 * BIN - 100}
    bins = {chrom: -(-length // BIN) for chrom, length in sizes.items()}
    write_levels(tmp_path / "a.mcool", sizes, {c: np.full((n, n), 6) for c, n in bins.items()})
    write_genome(tmp_path / "a.fa", {chrom: "A" * length for chrom, length in sizes.items()})
    for factor in FACTORS:
        files = tmp_path / "a.mcool", tmp_path / "a.fa"
        rows, batch = raw_batches(config, tmp_path / "shards", *files, factor=factor)
        assert {row["num_cols"] % factor for row in rows} > {0}
        for row, coarse, target in zip(rows, batch.coarse, batch.target, strict=True):
            inside = np.ix_(range(row["num_rows"]), range(row["num_cols"]))
            np.testing.assert_allclose(coarse[inside], np.log10(7) / LOG_MAX, rtol=1e-6)
            np.testing.assert_allclose(target[inside], np.log10(7) / LOG_MAX, rtol=1e-6)
