import itertools
import shutil
import threading
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st

from hicray.config import DataConfig, UserError
from hicray.io.ahead import ahead
from hicray.windows import shards as shards_module
from hicray.windows.manifest import ShardSet, read_manifest
from hicray.windows.reading import columns, read_rows, shard_at
from hicray.windows.shards import prepare
from hicray.windows.stream import (
    Blocks,
    Files,
    Reader,
    Slice,
    epoch_order,
    open_windows,
    train_slice,
    whole_slice,
)

BIN = 128


@pytest.fixture(scope="module")
def config(tiny_simulation):
    return DataConfig(
        contacts=(str(tiny_simulation.contacts[0]),),
        genome=str(tiny_simulation.genome),
        fine_bin_size=BIN,
        coarse_bin_sizes=(256, 512),
        split="train=chr1,chr2,chr3;val=chr5;test=chr6",
        window_bins=64,
        train_stride_bins=12,
        min_usable=0.4,
    )


@pytest.fixture(scope="module")
def folder(config, local_ray, tmp_path_factory):
    """A shard set whose training windows fill several shards, unequal in size."""
    folder = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards_module, "ROWS_PER_SHARD", 12)
        prepare(config, folder)
    return folder


@pytest.fixture(scope="module")
def manifest(folder):
    return read_manifest(folder)


@pytest.fixture(scope="module")
def resident(folder, manifest):
    return open_windows(ShardSet(folder, manifest), "train", 512)


@pytest.fixture(scope="module")
def streamed(folder, manifest):
    """The same windows as on a machine whose object store cannot hold them."""
    shards = manifest.files("train")
    return Files([shard_at(folder, shard) for shard in shards], columns(512))


def loci(tables):
    rows = [table.select(["chrom", "row_start"]).to_pylist() for table in tables]
    return [tuple(row.values()) for row in itertools.chain.from_iterable(rows)]


@pytest.fixture(scope="module")
def written(folder, manifest):
    """Loci in the order of the shards, as plain pyarrow reads them."""
    return loci(pq.read_table(folder / shard.file) for shard in manifest.files("train"))


ROWS, WORKERS, BATCH = st.integers(0, 500), st.integers(1, 9), st.integers(1, 17)


@given(ROWS, WORKERS)
def test_validation_slices_hold_every_window_exactly_once(rows, workers):
    parts = [whole_slice(rows, rank, workers) for rank in range(workers)]
    seen = [row for part in parts for row in range(part.start, part.end)]
    assert seen == list(range(rows))
    sizes = [part.end - part.start for part in parts]
    assert max(sizes) - min(sizes) <= 1


@given(ROWS, WORKERS, BATCH)
def test_training_slices_are_equal_and_drop_less_than_one_global_batch(rows, workers, batch):
    parts = [train_slice(rows, rank, workers, batch) for rank in range(workers)]
    seen = [row for part in parts for row in range(part.start, part.end)]
    assert seen == list(range(len(seen)))
    assert {part.end - part.start for part in parts} == {len(seen) // workers}
    assert len(seen) // workers % batch == 0
    assert 0 <= rows - len(seen) < workers * batch


@given(st.integers(1, 300), st.integers(0, 2**40), st.integers(0, 1_000))
def test_an_epochs_order_is_a_function_of_seed_and_epoch_alone(rows, seed, epoch):
    order = epoch_order(rows, seed, epoch)
    np.random.default_rng().random(3)
    np.testing.assert_array_equal(order, epoch_order(rows, seed, epoch))
    assert sorted(order) == list(range(rows))


def test_seeds_and_epochs_have_orders_of_their_own():
    orders = {tuple(epoch_order(50, seed, epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_a_trial_reads_the_columns_of_its_own_gap_alone():
    own = columns(16_000)
    assert {name for name in own if "coarse" in name} == {
        "coarse_16000_counts",
        "coarse_16000_row_weights",
        "coarse_16000_col_weights",
    }
    assert {"source", "chrom", "row_start", "col_start", "fine_counts"} < set(own)


@pytest.mark.parametrize("place", [0.001, 0.3, 0.6, 0.999])
def test_a_flipped_byte_is_refused_wherever_it_lies(folder, manifest, tmp_path, place):
    """In a page, in the other gap's column or in the footer: nothing of the shard is used."""
    shard = manifest.files("val")[0]
    content = bytearray((folder / shard.file).read_bytes())
    content[int(place * len(content))] ^= 1
    (tmp_path / shard.file).write_bytes(content)
    sentence = rf"{shard.file} is damaged .*manifest.*; remove it and .* prepare again"
    with pytest.raises(UserError, match=sentence):
        next(read_rows(shard_at(tmp_path, shard), columns(512)))


def test_a_damaged_shard_stops_a_search_before_it_trains(folder, manifest, local_ray, tmp_path):
    alone = tmp_path / "shards"
    shutil.copytree(folder, alone)
    damaged = alone / manifest.files("val")[0].file
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(UserError, match=f"{damaged} is damaged"):
        open_windows(ShardSet(alone, manifest), "val", 512)


def test_a_reader_of_one_gap_decodes_no_other_gap(folder, manifest, local_ray):
    windows = open_windows(ShardSet(folder, manifest), "val", 512)
    (table,) = Reader(windows, 100).ordered(Slice(0, windows.rows))
    assert table.column_names == columns(512)
    whole = pa.concat_tables(
        pq.read_table(folder / shard.file, columns=columns(512)) for shard in manifest.files("val")
    )
    for name in (*columns(512)[:6], "fine_counts", "coarse_512_counts"):
        assert table[name].to_pylist() == whole[name].to_pylist()


def test_a_set_that_fits_becomes_resident_in_shard_order(resident, manifest, written):
    assert isinstance(resident, Blocks)
    assert resident.rows == manifest.num_windows("train") == len(written)
    assert len(manifest.files("train")) > 2
    assert loci(ray.get(resident.refs)) == written


def test_a_set_without_windows_is_refused(folder, manifest):
    none = replace(manifest, shards=())
    with pytest.raises(UserError, match="no val window"):
        open_windows(ShardSet(folder, none), "val", 512)


def read(reader, rows, ranks, batch, shuffle=None):
    """What every rank reads of an epoch, as training and validation slice it."""
    if shuffle is None:
        parts = [whole_slice(rows, rank, ranks) for rank in range(ranks)]
        return [list(reader.ordered(part)) for part in parts]
    parts = [train_slice(rows, rank, ranks, batch) for rank in range(ranks)]
    return [list(reader.shuffled(part, *shuffle)) for part in parts]


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("kind", ["resident", "streamed"])
def test_validation_reads_every_window_once_over_all_ranks(request, kind, ranks, written):
    windows = request.getfixturevalue(kind)
    assert windows.rows % 2 == 1
    by_rank = read(Reader(windows, 4), windows.rows, ranks, 4)
    assert [locus for tables in by_rank for locus in loci(tables)] == written
    for tables in by_rank:
        sizes = [table.num_rows for table in tables]
        assert set(sizes[:-1]) <= {4}
        assert 1 <= sizes[-1] <= 4


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("kind", ["resident", "streamed"])
def test_training_reads_equal_shares_without_repeats(request, kind, ranks, written):
    windows = request.getfixturevalue(kind)
    by_rank = read(Reader(windows, 3), windows.rows, ranks, 3, shuffle=(7, 1))
    seen = [locus for tables in by_rank for locus in loci(tables)]
    assert len(set(seen)) == len(seen) <= len(written)
    assert set(seen) <= set(written)
    assert windows.rows - len(seen) < ranks * 3
    assert {table.num_rows for tables in by_rank for table in tables} == {3}
    assert len({len(tables) for tables in by_rank}) == 1


@pytest.mark.parametrize("kind", ["resident", "streamed"])
def test_an_epoch_is_shuffled_anew_and_repeats_exactly(request, kind, written):
    windows = request.getfixturevalue(kind)
    reader, part = Reader(windows, 3), Slice(0, windows.rows)
    first = loci(reader.shuffled(part, 7, 1))
    assert sorted(first) == sorted(written)
    assert loci(reader.shuffled(part, 7, 1)) == first
    other = loci(reader.shuffled(part, 7, 2))
    assert sorted(other) == sorted(written)
    assert other != first


def neighbours(order):
    return {frozenset(pair) for pair in itertools.pairwise(order)}


@pytest.mark.parametrize("kind", ["resident", "streamed"])
def test_shuffling_gives_windows_new_neighbours(request, kind, written):
    windows = request.getfixturevalue(kind)
    order = loci(Reader(windows, 3).shuffled(Slice(0, windows.rows), 7, 1))
    assert len(neighbours(order) & neighbours(written)) < len(written) / 4


def test_resident_windows_come_in_the_epochs_order(resident, written):
    order = epoch_order(resident.rows, 7, 3)
    found = loci(Reader(resident, 4).shuffled(Slice(5, 14), 7, 3))
    assert found == [written[row] for row in order[5:14]]


@pytest.mark.parametrize("kind", ["resident", "streamed"])
def test_an_empty_slice_reads_nothing(request, kind):
    reader = Reader(request.getfixturevalue(kind), 4)
    assert list(reader.ordered(Slice(5, 5))) == []
    assert list(reader.shuffled(Slice(0, 0), 0, 0)) == []


@given(st.lists(st.integers()), st.integers(1, 5))
def test_ahead_keeps_every_item_in_order(items, depth):
    assert list(ahead(iter(items), depth)) == items


def test_ahead_makes_items_while_the_last_one_is_used():
    made = []

    def produce():
        for item in range(5):
            made.append(item)
            yield item

    items = ahead(produce(), depth=2)
    assert next(items) == 0
    deadline = time.monotonic() + 10
    while len(made) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert made == [0, 1, 2]
    assert list(items) == [1, 2, 3, 4]


def test_ahead_raises_what_its_producer_raised_after_the_items_before():
    def produce():
        yield 1
        yield 2
        raise KeyError("bad shard")

    items = ahead(produce())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(KeyError, match="bad shard"):
        next(items)
    assert list(items) == []


@pytest.mark.timeout(30)
def test_closing_early_neither_hangs_nor_leaves_a_thread():
    before = threading.active_count()
    items = ahead(itertools.count(), depth=3)
    assert next(items) == 0
    items.close()
    assert threading.active_count() == before
