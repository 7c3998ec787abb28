"""The page stands alone: nothing is loaded, everything is escaped, the verdict comes twice."""

import base64
import re

from hicray.comparison.page import page
from hicray.comparison.pictures import figures
from hicray.comparison.table import render
from hicray.panels import Locus
from tests.comparison.results import MANIFEST, result_of


def test_the_page_holds_tables_pictures_and_the_verdict(rng):
    result = result_of({"noseq": 0.5, "seq": 0.6})
    maps = {name: rng.random((8, 8)) for name in ("coarse", "seq", "fine")}
    window = Locus(
        chrom="chr9",
        row_start=0,
        col_start=0,
        bin_size=4_000,
        maps=maps,
        expected=rng.random((8, 8)),
    )
    result = result.__class__(
        **{
            **vars(result),
            "examples": (window,),
            "curves": {"seq": {"train": [2.0, 1.0], "val": [2.0, 1.5]}},
        }
    )
    pictures = figures([result], MANIFEST)
    assert list(pictures) == [
        "test windows 16000->4000 bp",
        "windows seq against noseq",
        "gain by separation",
        "gain in bits per read by separation",
        "one locus and score by separation",
        "score by separation",
        "loss curves",
    ]
    text = page("Does <DNA> help?", render([result], MANIFEST), pictures)
    assert "<script" not in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "&lt;DNA&gt;" in text
    assert text.count("<table>") == 4
    assert text.count("DNA helped") == 2
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert len(found) == 7
    assert all(base64.b64decode(one).startswith(b"\x89PNG") for one in found)
