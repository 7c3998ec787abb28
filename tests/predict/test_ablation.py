"""A stretch of DNA taken out of a map's window, through the command and as a function."""

from pathlib import Path

import numpy as np
import pytest

from hicray.config import ModelConfig
from hicray.maps.bins import Region, parse_region
from hicray.predict.ablation import ablate_locus
from hicray.predict.preflight import open_request
from hicray.predict.request import Ablate
from tests.trained import trained_for, write_checkpoint

WINDOW, BIN = 64, 128


@pytest.fixture(scope="module")
def seq(tiny_simulation, tmp_path_factory):
    """What to ask of a network that reads DNA at the pixels, but for the stretch."""
    uri, folder = str(tiny_simulation.contacts[0]), tmp_path_factory.mktemp("ablation")
    model = ModelConfig(depth=1, dna_channels=8, flank_bins=1, fusion="pairwise")
    write_checkpoint(folder / "seq", model, trained_for(uri, BIN, 512, WINDOW))
    noseq = ModelConfig(sequence="off")
    write_checkpoint(folder / "noseq", noseq, trained_for(uri, BIN, 512, WINDOW))
    return {
        "--checkpoint": folder / "seq",
        "--contacts": uri,
        "--genome": tiny_simulation.genome,
        "--locus": "chr2:10,000-10,020",
        "--out": "ablation.png",
    }


def ask(seq, **changes):
    options = {name.lstrip("-"): value for name, value in seq.items()} | changes
    text = {name: str(value) for name, value in options.items() if name != "out"}
    return Ablate(**text, out=Path(options["out"]))


def test_only_pixels_near_the_stretch_change(seq):
    request = ask(seq)
    region = parse_region(request.locus)
    found = ablate_locus(open_request(request, ("chr2",)), region, draws=2)
    change = found.ablation.log2_change[0].abs().numpy()
    row, reach = (region.start - found.start) // BIN, 5  # of the tower's and pixels' convolutions
    assert found.start % 512 == 0
    assert abs(row - WINDOW // 2) <= 4
    assert change[row].max() > 1e-5
    far = np.abs(np.arange(WINDOW) - row) > reach
    assert change[np.ix_(far, far)].max() == 0


def test_a_network_of_windows_off_the_diagonal_is_asked_on_it(seq, tmp_path):
    model = ModelConfig(depth=1, dna_channels=8, flank_bins=1, fusion="pairwise")
    both, region = {}, parse_region(seq["--locus"])
    for offsets in (1, 2):
        trained = trained_for(seq["--contacts"], BIN, 512, WINDOW, offsets=offsets)
        folder = write_checkpoint(tmp_path / str(offsets), model, trained)
        opened = open_request(ask(seq, checkpoint=folder), ("chr2",))
        both[offsets] = ablate_locus(opened, region, draws=1).ablation.log2_change
    assert both[1].abs().max() > 1e-5
    assert both[2].abs().max() > 1e-5


@pytest.mark.parametrize(
    "region", [Region("chr2", 0, 20), Region("chr2", 511, 8_191), Region("chr2", 25_400, 25_500)]
)
def test_windows_at_the_ends_hold_the_stretch(seq, region):
    found = ablate_locus(open_request(ask(seq), ("chr2",)), region, draws=1)
    row = (region.start - found.start) // BIN
    assert 0 <= row < WINDOW
    assert found.ablation.log2_change[0].abs().numpy()[row].max() > 0


def test_the_command_draws_and_says_how_much_changes(hicray, seq, work):
    code, out, err = hicray("ablate", *(word for pair in seq.items() for word in pair))
    assert code == 0, err
    assert "mean |log2|" in out
    assert (work / "ablation.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"--locus": "chr2"}, "is no stretch of DNA; give chrom:start-end"),
        ({"--locus": "chr2:20-10"}, "is no stretch of DNA"),
        ({"--locus": "chrZ:10-20"}, "has no chromosome chrZ; it has chr1"),
        ({"--locus": "chr2:10-26000"}, "does not fit chr2 of 25,5"),
        ({"--locus": "chr2:0-9000"}, "a window of 8,192 bp; give a stretch of at most 7,680 bp"),
        ({"--locus": "chr2:1000-9100"}, "at most 7,680 bp"),
        ({"--out": "a.mcool"}, "must end with .png"),
        ({"--checkpoint": "noseq"}, "reads no DNA, so that there is nothing to ablate"),
    ],
)
def test_what_cannot_be_ablated_is_one_sentence(refused, seq, changed, says):
    if "--checkpoint" in changed:
        changed = {"--checkpoint": seq["--checkpoint"].parent / changed["--checkpoint"]}
    options = seq | changed
    assert says in refused("ablate", *(word for pair in options.items() for word in pair))
