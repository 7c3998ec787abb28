"""Maps whose levels or attributes are not as they should be: what is read, and what is refused."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import cooler
import h5py
import numpy as np
import pytest

from hicray.config import DataConfig, UserError
from hicray.evaluation.baseline_plan import resolve
from hicray.evaluation.options import Baselines
from hicray.maps.check import check_data
from hicray.maps.contacts import open_map
from hicray.maps.contents import require_any
from hicray.maps.levels import levels
from tests.shared_data import write_map

SIZES = {"chrA": 60_000, "chrB": 40_300, "chrC": 33_000}
BIN = 1_000
LEVELS = (BIN, 2 * BIN, 4 * BIN)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A map of three levels in which nothing is wrong."""
    folder = tmp_path_factory.mktemp("whole")
    out = folder / "map.mcool"
    cooler.zoomify_cooler(write_map(folder / "base.cool", SIZES, BIN), str(out), LEVELS, 10**6)
    with h5py.File(out, "r+") as file:
        for size in LEVELS:
            bins = file[f"resolutions/{size}/bins"]
            bins["weight"] = np.ones(len(bins["chrom"]))
    return out


@pytest.fixture
def changed(whole, tmp_path):
    """A function that copies the map, changes the copy, and returns it as a data set."""

    def copy(change=None, **options):
        path = tmp_path / "map.mcool"
        shutil.copyfile(whole, path)
        if change:
            with h5py.File(path, "r+") as file:
                change(file["resolutions"])
        config = DataConfig(
            contacts=(str(path),),
            fine_bin_size=BIN,
            coarse_bin_sizes=(2 * BIN, 4 * BIN),
            split="val=chrB;test=chrC",
            window_bins=32,
        )
        return replace(config, **options)

    return copy


def refused(config):
    with pytest.raises(UserError) as caught:
        check_data(config)
    message = str(caught.value)
    assert config.contacts[0] in message
    assert "\n" not in message
    return message


def baselines(config, tmp_path):
    """What `baselines` says of the same map."""
    with pytest.raises(UserError) as caught:
        resolve(
            Baselines(
                contacts=config.contacts[0],
                fine_bin_size=BIN,
                coarse_bin_size=2 * BIN,
                split=config.split,
                window_bins=32,
                raw=config.raw,
            )
        )
    return str(caught.value)


def put(sizes, tmp_path, level=2 * BIN, **options):
    """Return a change that puts another map in the place of a level."""
    other = write_map(tmp_path / "other.cool", sizes, level, weights="weight", **options)

    def change(file):
        del file[str(level)]
        with h5py.File(other) as one:
            one.copy("/", file, str(level))

    return change


# coarse levels of another map ---------------------------------------------------------------------


def test_levels_of_one_map_pass(changed):
    assert check_data(changed())
    assert check_data(changed(raw=True))


def test_a_coarse_level_that_lacks_a_chromosome_is_refused(changed, tmp_path):
    fewer = {chrom: SIZES[chrom] for chrom in ("chrA", "chrB")}
    config = changed(put(fewer, tmp_path))
    message = refused(config)
    assert "/resolutions/2000 lacks chrC, which" in message
    assert "levels must be of one map: make them anew by `cooler zoomify -r 1000,2000" in message
    assert baselines(config, tmp_path) == message


def test_a_coarse_level_of_other_lengths_is_refused(changed, tmp_path):
    config = changed(put(SIZES | {"chrB": 40_800}, tmp_path))
    message = refused(config)
    assert "chrB is 40,800 bp in" in message
    assert "/resolutions/2000 but 40,300 bp in" in message
    assert baselines(config, tmp_path) == message


def test_a_coarse_level_of_another_map_is_refused(changed, tmp_path):
    config = changed(put(SIZES, tmp_path))
    message = refused(config)
    assert "/resolutions/2000 has 1,838 reads within chrA but" in message
    assert "/resolutions/1000 has 4,561, so that one is not the sum of the other" in message
    assert baselines(config, tmp_path) == message


def test_a_read_more_is_another_map(changed):
    def add(file):
        file["4000/pixels/count"][0] += 1

    assert "/resolutions/4000 has 4,562 reads within chrA but" in refused(changed(add))


def test_a_level_that_is_not_read_may_be_of_another_map(changed, tmp_path):
    config = changed(put(SIZES, tmp_path))
    assert check_data(replace(config, coarse_bin_sizes=(4 * BIN,)))
    assert check_data(replace(config, coarse_keep=0.5))  # the coarse map is made of the fine one


def test_the_sentences_command_makes_levels_of_one_map(changed, tmp_path):
    config = changed(put(SIZES, tmp_path))
    message = refused(config)
    command = message[message.index("`") + 1 : message.rindex("`")]
    subprocess.run(f"{scripts()}/{command}", shell=True, check=True, cwd=tmp_path)
    assert check_data(replace(config, contacts=(str(tmp_path / "new.mcool"),), raw=True))


def scripts():
    return Path(subprocess.sys.executable).parent


# levels that cooler marks as variable -------------------------------------------------------------


@pytest.fixture(scope="module")
def variable(tmp_path_factory):
    """A map with a level at which every chromosome is one bin."""
    folder = tmp_path_factory.mktemp("variable")
    base = write_map(folder / "base.cool", SIZES, BIN)
    cooler.zoomify_cooler(base, str(folder / "map.mcool"), [BIN, 2 * BIN, 64 * BIN], 10**6)
    assert cooler.Cooler(f"{folder}/map.mcool::/resolutions/64000").binsize is None
    return str(folder / "map.mcool")


def test_a_level_whose_chromosomes_are_one_bin_each_is_left_out(variable, changed):
    assert sorted(levels(variable)) == [BIN, 2 * BIN]
    config = changed(contacts=(variable,), coarse_bin_sizes=(2 * BIN,), raw=True)
    assert f"{variable}: bins of 1,000, 2,000 bp" in check_data(config)


def test_a_level_whose_chromosomes_are_one_bin_each_is_refused_where_it_is_asked_for(
    variable, changed
):
    config = changed(contacts=(variable,), raw=True, coarse_bin_sizes=(64 * BIN,))
    assert "coarse bins of 64,000 bp hold every chromosome of" in refused(
        replace(config, split="train=chrA;val=chrB;test=chrC", window_bins=60, min_usable=0.5)
    )
    fine = replace(config, fine_bin_size=64 * BIN, coarse_bin_sizes=(128 * BIN,))
    message = refused(fine)
    assert "/resolutions/64000 has bins of variable size, or one for each chromosome" in message
    assert message.endswith("choose one of 1,000, 2,000")


# attributes and storage ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["format-version", "bin-type", "bin-size", "nbins", "nnz"])
@pytest.mark.parametrize("level", [BIN, 2 * BIN])
def test_a_missing_attribute_is_one_sentence(changed, name, level):
    def drop(file):
        del file[str(level)].attrs[name]

    config = changed(drop)
    if (name, level) == ("bin-size", 2 * BIN):  # then it is no level, and summed anew
        assert "  no bins of 2,000 bp: will be summed from 1,000 bp" in check_data(config)
        return
    message = refused(config)
    assert f"/resolutions/{level} lacks the attribute {name}, by which readers" in message
    assert "convert the map anew" in message


def test_attributes_that_nobody_needs_may_be_missing(changed):
    def drop(file):
        for size in LEVELS:
            for name in ("sum", "nchroms", "metadata", "creation-date", "genome-assembly"):
                del file[str(size)].attrs[name]

    assert check_data(changed(drop))


def test_a_format_of_the_future_is_one_sentence(changed):
    def raise_(file):
        file["1000"].attrs["format-version"] = 4

    assert "/resolutions/1000 is of cooler's format 4" in refused(changed(raise_))


def test_square_storage_is_refused_and_the_command_that_is_given_mends_it(whole, changed, tmp_path):
    one = cooler.Cooler(f"{whole}::/resolutions/{BIN}")
    pixels = one.matrix(balance=False, as_pixels=False, sparse=True)[:]
    rows, cols = pixels.row, pixels.col
    order = np.lexsort((cols, rows))
    table = {"bin1_id": rows[order], "bin2_id": cols[order], "count": pixels.data[order]}
    square = str(tmp_path / "square.cool")
    bins = one.bins()[:]
    cooler.create_cooler(square, bins, table, symmetric_upper=False, ordered=True)
    config = changed(contacts=(square,), raw=True)
    message = refused(config)
    assert "square.cool::/ is stored as square, and hicray reads" in message
    command = message[message.index("`") + 1 : message.rindex("`")]
    lengths = tmp_path / "sizes"
    lengths.write_text("".join(f"{chrom}\t{size}\n" for chrom, size in SIZES.items()))
    command = command.replace("cooler ", f"{scripts()}/cooler ").replace("CHROMSIZES", str(lengths))
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    config = replace(config, contacts=(str(tmp_path / "new.cool"),))
    assert check_data(config)
    assert cooler.Cooler(config.contacts[0]).info["sum"] == one.info["sum"]


# contents -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("kept", ["none", "trans"])
def test_a_map_without_contacts_within_chromosomes_is_refused(whole, changed, tmp_path, kept, raw):
    one = cooler.Cooler(f"{whole}::/resolutions/{BIN}")
    bins, pixels = one.bins()[:], one.pixels()[:]
    chroms = bins["chrom"].astype(str).to_numpy()
    trans = chroms[pixels["bin1_id"]] != chroms[pixels["bin2_id"]]
    path = str(tmp_path / "bare.cool")
    cooler.create_cooler(path, bins, pixels[trans if kept == "trans" else trans & False])
    config = changed(contacts=(path,), raw=raw)
    message = refused(config)
    assert "has no contacts within chrA, chrB, chrC, and hicray learns from those" in message
    assert baselines(config, tmp_path).startswith(f"{path}::/ has no contacts within chr")
    with pytest.raises(UserError, match="no contacts within chrA, chrC, so that nothing can be"):
        require_any(open_map(path, BIN), ("chrA", "chrC"), raw=raw)


@pytest.mark.parametrize(("chrom", "name"), [("chrA", "train"), ("chrB", "val"), ("chrC", "test")])
def test_a_set_without_contacts_is_refused(whole, changed, tmp_path, chrom, name):
    one = cooler.Cooler(f"{whole}::/resolutions/{BIN}")
    low, high = one.extent(chrom)
    pixels = one.pixels()[:]
    path = str(tmp_path / "part.cool")
    inside = (pixels["bin1_id"] >= low) & (pixels["bin2_id"] < high)
    cooler.create_cooler(path, one.bins()[:], pixels[~inside])
    message = refused(changed(contacts=(path,)))
    assert f"has no contacts within the {name} chromosomes {chrom}; choose others" in message


def masked(chrom, level, share=1.0):
    def change(file):
        one = cooler.Cooler(file[str(level)])
        low, high = one.extent(chrom)
        file[f"{level}/bins/weight"][low : low + round(share * (high - low))] = np.nan

    return change


@pytest.mark.parametrize(("chrom", "name"), [("chrA", "train"), ("chrB", "val"), ("chrC", "test")])
@pytest.mark.parametrize("level", [BIN, 4 * BIN])
def test_weights_that_are_NaN_on_all_of_a_set_are_refused(changed, chrom, name, level):
    config = changed(masked(chrom, level))
    message = refused(config)
    assert f"the weights 'weight' of {config.contacts[0]}::/resolutions/{level} leave" in message
    assert f"no window in the {name} set, {chrom}, with 23 of 32 bins usable" in message
    assert check_data(replace(config, raw=True))
    contacts = open_map(config.contacts[0], level)
    require_any(contacts, (chrom,), raw=True)
    with pytest.raises(UserError, match=f"no weights 'weight' but NaN on {chrom}, so that"):
        require_any(contacts, (chrom,), raw=False)


def test_weights_of_a_part_of_a_set_may_be_NaN_while_a_window_is_left(changed):
    # Of chrB's 41 bins 23 have to stay, 70 % of a window.
    assert check_data(changed(masked("chrB", BIN, 18 / 41)))
    assert "no window in the val set" in refused(changed(masked("chrB", BIN, 19 / 41)))


def test_weights_that_leave_a_window_at_no_level_alone_but_together_are_refused(changed):
    def change(file):
        masked("chrB", BIN, 15 / 41)(file)
        end = cooler.Cooler(file["2000"]).extent("chrB")[1]
        file["2000/bins/weight"][end - 6 : end] = np.nan

    message = refused(changed(change))
    assert "/resolutions/1000 with " in message
    assert "no window in the val set" in message


@pytest.mark.parametrize("raw", [False, True])
def test_fractional_coarse_counts_are_refused(changed, raw):
    def change(file):
        counts = file["2000/pixels/count"][:] * 0.9
        del file["2000/pixels/count"]
        file["2000/pixels"]["count"] = counts

    assert "fractional counts" in refused(changed(change, raw=raw))


# weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["weight", "mine", "ICE", "gc_corrected"])
def test_a_column_of_weights_without_attributes_is_multiplied(changed, name):
    rng = np.random.default_rng(0)

    def change(file):
        for size in LEVELS:
            bins = file[f"{size}/bins"]
            del bins["weight"]
            values = rng.uniform(0.5, 2, len(bins["chrom"]))
            values[::7] = np.nan
            bins[name] = values

    config = changed(change, weights=name, min_usable=0.5)
    assert check_data(config)
    contacts = open_map(config.contacts[0], BIN, weights_name=name)
    own = cooler.Cooler(contacts.uri)
    for chrom in SIZES:
        right = own.bins().fetch(chrom)[name].to_numpy()
        np.testing.assert_array_equal(contacts.weights(chrom), right)
        balanced = np.nansum(np.triu(own.matrix(balance=name).fetch(chrom)))
        assert contacts.sums([chrom])[chrom].balanced == pytest.approx(balanced, rel=1e-12)
