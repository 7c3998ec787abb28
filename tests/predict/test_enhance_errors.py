"""What a user gets wrong about `hicray enhance`: one sentence, exit code 2, nothing written."""

from pathlib import Path

import pytest

from hicray.config import ModelConfig
from hicray.predict.preflight import check
from hicray.predict.request import Enhance
from tests.command_line import SIZES
from tests.published import published_file
from tests.shared_data import write_fasta, write_map
from tests.trained import trained_for, write_checkpoint


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A map, and checkpoints with and without DNA and of an older version."""
    folder = tmp_path_factory.mktemp("there")
    uri = write_map(folder / "map.cool", SIZES, 1_000, weights="weight")
    trained = trained_for(uri, 1_000, 1_000, 32)
    model = ModelConfig(depth=1, dna_channels=8)
    write_checkpoint(folder / "seq", model, trained)
    write_checkpoint(folder / "noseq", ModelConfig(sequence="off"), trained)
    write_checkpoint(
        folder / "old", ModelConfig(sequence="off"), None, window_bins=32, bin_size=9, factor=2
    )
    write_fasta(folder / "short.fa", {name: size - 1 for name, size in SIZES.items()})
    write_map(folder / "bare.cool", SIZES, 1_000)
    write_map(folder / "coarse.cool", SIZES, 2_000, weights="weight")
    published_file(folder / "published.safetensors", window=32)
    (folder / "out.mcool").write_text("mine")
    return folder


@pytest.mark.parametrize("names", [("B", "chrC"), ("chrC", "chrB")])
def test_chromosomes_are_taken_by_either_name_in_the_maps_order(there, tmp_path, names):
    request = Enhance(
        checkpoint=str(there / "noseq"),
        contacts=str(there / "map.cool"),
        out=tmp_path / "new.mcool",
        chroms=names,
    )
    assert check(request).chroms == ("chrB", "chrC")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"--checkpoint": "nowhere"}, "--checkpoint nowhere does not exist; give"),
        ({"--checkpoint": "."}, "holds no hicray checkpoint (trial.json is missing)"),
        ({"--checkpoint": "{there}/old"}, "by an older hicray that did not keep the scale"),
        ({"--checkpoint": "{there}/seq"}, "reads DNA; give --genome"),
        (
            {"--checkpoint": "{there}/seq", "--genome": "{there}/short.fa"},
            "chrA is 60,000 bp in",
        ),
        ({"--checkpoint": "models:/m-1"}, "is kept by MLflow; give --tracking-uri"),
        (
            {"--checkpoint": "{there}/map.cool", "--bin-size": "9", "--fine-bin-size": "9"},
            "is not a readable checkpoint",
        ),
        ({"--checkpoint": "{there}/published.safetensors"}, "which knows no bin sizes: --bin-size"),
        ({"--bin-size": "4000"}, "--bin-size 4000 is not what"),
        ({"--fine-bin-size": "500"}, "--fine-bin-size 500 is not what"),
        ({"--contacts": "{there}/coarse.cool"}, "has no bins of 1,000 bp; it has 2,000"),
        ({"--contacts": "{there}/bare.cool"}, "has no balancing weights 'weight'"),
        ({"--chroms": "chrZ"}, "has no chromosome chrZ; it has"),
        ({"--max-distance": "32000"}, "--max-distance 32000 is not within 0 to 31000"),
        ({"--max-distance": "-1"}, "--max-distance -1 is not within"),
        ({"--out": "out.cool"}, "--out out.cool must end with .mcool"),
        ({"--out": "a/b.mcool"}, "lies in a folder that does not exist"),
        ({"--out": "{there}/out.mcool"}, "is there already; remove it"),
    ],
)
def test_what_cannot_be_enhanced_is_one_sentence(refused, there, changed, says):
    options = {
        "--checkpoint": there / "noseq",
        "--contacts": there / "map.cool",
        "--out": "new.mcool",
    }
    options |= {name: value.format(there=there) for name, value in changed.items()}
    assert says in refused("enhance", *(word for pair in options.items() for word in pair))
    assert Path(there / "out.mcool").read_text() == "mine"
