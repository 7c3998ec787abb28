"""Maps of a locus: what is drawn, on which scale, along which axes."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgba

from hicray.figures import Level
from hicray.panels import MASKED, NOTE, Locus, locus_panels, overview
from hicray.training.examples import loci
from hicray.windows.collate import Collate
from hicray.windows.reading import columns, read_rows, shard_at
from tests.test_figures import pixels

SIDE, BIN, START = 16, 2_000, 40_000


@pytest.fixture
def locus(rng):
    """Three maps of a window whose bins 5 and 6 are masked."""
    fine = rng.gamma(2.0, 10.0, (SIDE, SIDE))
    maps = {"coarse": 3 * fine, "noseq": fine * rng.uniform(0.5, 2.0, fine.shape), "fine": fine}
    for values in maps.values():
        values[5:7] = values[:, 5:7] = np.nan
    return Locus(
        chrom="chrIV",
        row_start=START,
        col_start=START,
        bin_size=BIN,
        maps=maps,
        expected=np.full((SIDE, SIDE), 20.0),
    )


def drawn(figure):
    """Panels that hold a map, locus by locus in rows."""
    rows = {}
    for panel in (axes for axes in figure.axes if axes.images):
        at = id(panel.get_figure(root=False)), panel.get_subplotspec().rowspan.start
        rows.setdefault(at, []).append(panel)
    return [*rows.values()]


def test_map_panels_show_every_map_of_every_window(locus):
    rows = drawn(locus_panels([locus, locus], "windows"))
    assert [len(row) for row in rows] == [3, 3, 2, 3, 3, 2]
    for first in (0, 3):
        assert [panel.get_title() for panel in rows[first]] == list(locus.maps)
        for panel, values in zip(rows[first], locus.maps.values(), strict=True):
            np.testing.assert_array_equal(panel.images[0].get_array().filled(np.nan), values)
    assert np.ptp(pixels(locus_panels([locus]))) > 0.5


def test_a_row_has_one_scale_and_differences_are_signed(locus):
    contacts, oe, differences = drawn(locus_panels([locus]))
    for row in (contacts, oe, differences):
        assert len({(p.images[0].norm.vmin, p.images[0].norm.vmax) for p in row}) == 1
    for row in (oe, differences):
        norm = row[0].images[0].norm
        assert norm.vmin == -norm.vmax
    values = np.stack([*locus.maps.values()])
    assert contacts[0].images[0].norm.vmin == pytest.approx(np.nanpercentile(values, 1))
    # Both on the scale of the larger one: coarse is three times fine.
    assert differences[0].images[0].norm.vmax == pytest.approx(np.log2(3), abs=0.4)
    shown = differences[1].images[0].get_array().filled(np.nan)
    expected = np.log2((locus.maps["noseq"] + 1) / (locus.maps["fine"] + 1))
    np.testing.assert_allclose(shown, expected)


def test_o_e_is_drawn_in_the_range_of_the_fine_map_however_noisy_others_are(locus, rng):
    noisy = {**locus.maps, "coarse": locus.maps["coarse"] * 50 ** rng.normal(size=(SIDE, SIDE))}
    ranges = [
        drawn(locus_panels([replace(locus, maps=maps)]))[1][0].images[0].norm.vmax
        for maps in (locus.maps, noisy)
    ]
    assert ranges[0] == ranges[1]


def test_masked_bins_are_grey(locus):
    for row in drawn(locus_panels([locus])):
        for panel in row:
            (image,) = panel.images
            colours = image.to_rgba(image.get_array())
            assert (colours[5:7] == to_rgba(MASKED)).all()
            assert not (colours[0, 0] == to_rgba(MASKED)).all()


def test_axes_are_in_kb_and_bars_say_what_they_are(locus):
    figure = locus_panels([locus])
    for panel in (panel for row in drawn(figure) for panel in row):
        assert panel.get_xlim() == (40.0, 72.0)
        assert panel.get_ylim() == (72.0, 40.0)
    lowest = drawn(figure)[-1]
    assert [panel.get_xlabel() for panel in lowest] == ["chrIV (kb)"] * 2
    labels = [axes.get_ylabel() for axes in figure.axes if not axes.images]
    assert [one for one in labels if one] == ["contacts", "observed / expected", "map / fine"]
    assert NOTE in figure.get_supxlabel()
    bar = next(axes for axes in figure.axes if axes.get_ylabel() == "map / fine")
    ticks = dict(zip(bar.get_yticks(), (x.get_text() for x in bar.get_yticklabels()), strict=True))
    assert ticks[1.0] == "2"
    assert ticks[-1.0] == "0.5"


def test_windows_off_the_diagonal_have_two_places(locus):
    far = Locus(**{**vars(locus), "col_start": START + 100 * BIN})
    panel = drawn(locus_panels([far]))[0][0]
    assert panel.get_xlim() == (240.0, 272.0)
    assert panel.get_ylim() == (72.0, 40.0)
    assert far.likeness("noseq") != pytest.approx(locus.likeness("noseq"))  # all pixels count


def test_likeness_is_of_what_is_observed_over_expected_two_bins_apart(locus):
    apart = abs(np.subtract.outer(np.arange(SIDE), np.arange(SIDE))) >= 2
    both = apart & np.isfinite(locus.maps["fine"])
    logs = (np.log((locus.maps[name][both] + 1) / 21) for name in ("noseq", "fine"))
    assert locus.likeness("noseq") == pytest.approx(np.corrcoef(*logs)[0, 1])
    assert locus.likeness("fine") == pytest.approx(1)
    _, oe, _ = drawn(locus_panels([locus]))
    titles = [panel.get_title() for panel in oe]
    assert titles == [f"r = {locus.likeness(name):.2f}" for name in ("coarse", "noseq")] + [""]


def test_a_coarse_maps_oe_is_by_its_own_decay(locus):
    own = {"coarse": locus.maps["fine"]}
    shown = Locus(**{**vars(locus), "by_own_decay": own})
    assert shown.likeness("coarse") == pytest.approx(1)
    np.testing.assert_array_equal(shown.oe()["coarse"], locus.oe()["fine"])
    np.testing.assert_array_equal(shown.differences()["coarse"], locus.differences()["coarse"])


def test_a_locus_of_nothing_or_of_one_map_is_drawn(locus):
    nothing = {name: np.full((SIDE, SIDE), np.nan) for name in locus.maps}
    empty = {name: np.zeros((SIDE, SIDE)) for name in locus.maps}
    for maps in (nothing, empty):
        assert np.ptp(pixels(locus_panels([Locus(**{**vars(locus), "maps": maps})]))) > 0.5
    alone = Locus(**{**vars(locus), "maps": {"fine": locus.maps["fine"]}, "expected": None})
    assert [len(row) for row in drawn(locus_panels([alone]))] == [1]


def test_a_stretch_is_pointed_out_and_one_difference_is_drawn(locus):
    marked = {"marked": (50_000, 51_000), "compared": ("noseq",)}
    rows = drawn(locus_panels([Locus(**{**vars(locus), **marked})]))
    assert [len(row) for row in rows] == [3, 3, 1]
    assert {row[0].get_ylabel() for row in rows} == {"chrIV (kb)"}
    for panel in (panel for row in rows for panel in row):
        lines = [line.get_xdata()[0] for line in panel.lines if len(set(line.get_xdata())) == 1]
        assert lines == [50.0, 51.0]


def test_an_overview_has_a_locus_and_every_methods_line_the_ceiling_dashed(locus):
    starts = np.array([4_000.0, 8_000.0])
    levels = {name: Level(starts, np.array([0.5, 0.4])) for name in ("noseq", "seq", "ceiling")}
    figure = overview({"8000->2000": (locus, levels), "4000->2000": (locus, levels)}, "score")
    assert [len(row) for row in drawn(figure)] == [3, 3, 3, 3]
    charts = [axes for axes in figure.axes if axes.get_ylabel() == "score"]
    assert [axes.get_title() for axes in charts] == [
        f"{gap} bp, all windows" for gap in ("8000->2000", "4000->2000")
    ]
    for chart in charts:
        assert [line.get_linestyle() for line in chart.lines] == ["-", "-", "--"]
        assert [text.get_text() for text in chart.get_legend().get_texts()] == list(levels)


def test_a_batch_is_shown_in_contacts_less_what_is_masked(tiny_shards):
    folder, manifest = tiny_shards
    collate = Collate(manifest, 512)
    rows = next(read_rows(shard_at(folder, manifest.files("test")[0]), columns(512), 3))
    batch = collate.decode(collate.compact(rows))
    shown = loci(batch, collate, {"coarse": batch.coarse})
    assert [one.chrom for one in shown] == rows["chrom"].to_pylist()
    assert [one.row_start for one in shown] == rows["row_start"].to_pylist()
    for one, target, usable in zip(shown, batch.target, batch.usable, strict=True):
        assert list(one.maps) == ["coarse", "fine"]
        np.testing.assert_array_equal(np.isfinite(one.maps["fine"]), usable)
        expected = 1001 ** target[usable].numpy() - 1
        np.testing.assert_allclose(one.maps["fine"][usable], expected, rtol=1e-4, atol=1e-4)
        assert one.likeness("coarse") > 0.2
    assert mpl.get_backend().lower() == "agg"
