"""What is said of the windows under a table: what published weights may have seen of them."""

from dataclasses import replace

import bioframe
import pytest

from hicray.comparison.caveats import leak
from hicray.config import ModelConfig, TrainConfig, TrialConfig
from hicray.maps.assembly import human_assembly
from hicray.windows.manifest import SourceInfo
from tests.comparison.results import MANIFEST

TUNED = TrialConfig(coarse_bin_size=16_000, model=ModelConfig(encoder="tuned"), train=TrainConfig())
SCRATCH = replace(TUNED, model=ModelConfig())
YEAST = {"chrIV": 1_531_933, "chrVII": 1_090_940}
MOUSE = {"chr4": 156_508_116, "chr5": 151_834_684}


def lengths(assembly, strip=False):
    known = bioframe.assembly_info(assembly).chromsizes
    return {name.removeprefix("chr") if strip else name: int(n) for name, n in known.items()}


def manifest_of(chromsizes, tested):
    source = SourceInfo(
        contacts="", fingerprint="", chromsizes=chromsizes, total_reads={}, scale={}, caps={},
        expected={},
    )  # fmt: skip
    return replace(MANIFEST, sources={"map": source}, splits=dict.fromkeys(tested, "test"))


@pytest.mark.parametrize("assembly", ["hg38", "hg19"])
@pytest.mark.parametrize("strip", [False, True])
def test_a_human_genome_is_known_by_its_lengths(assembly, strip):
    sizes = lengths(assembly, strip)
    assert human_assembly(sizes, list(sizes)[:22]) == assembly
    held_out = [name for name in sizes if name.removeprefix("chr") in ("4", "5", "11", "14")]
    assert leak([TUNED], manifest_of(sizes, held_out), "test") == ""
    nine = "9" if strip else "chr9"
    said = leak([TUNED], manifest_of(sizes, [*held_out, nine]), "test")
    assert said.endswith(f"may have seen {nine} in its own training")


@pytest.mark.parametrize(("sizes", "tested"), [(YEAST, ["chrIV"]), (MOUSE, ["chr4", "chr5"])])
def test_of_another_genome_it_cannot_be_known(sizes, tested):
    assert human_assembly(sizes, tested) == ""
    assert "cannot be known" in leak([TUNED], manifest_of(sizes, tested), "test")


def test_a_network_from_scratch_has_seen_nothing():
    assert leak([SCRATCH], manifest_of(YEAST, ["chrIV"]), "test") == ""
