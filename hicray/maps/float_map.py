"""Maps of fractional contacts, as enhanced maps and baselines are: pixels to .cool."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cooler
import numpy as np
import pandas as pd
from jaxtyping import Float64


def write_float_cool(
    path: Path,
    chromsizes: Mapping[str, int],
    bin_size: int,
    pixels: Iterable[pd.DataFrame],
    weights: Float64[np.ndarray, " bins"],
    metadata: Mapping[str, Any],
) -> None:
    """Write a .cool of fractional counts with balancing weights, beside and then renamed.

    Args:
        path: The file; one that is there is replaced.
        chromsizes: Of all chromosomes, in bp.
        bin_size: In bp.
        pixels: Tables of bin1_id, bin2_id (genome-wide) and count, upper triangle, in order; a
            pixel that is absent is 0.
        weights: By bin of the genome; 1 where counts are balanced already, NaN is not usable.
        metadata: What the map is, kept in the file as JSON.
    """
    bins = cooler.binnify(pd.Series(dict(chromsizes)), bin_size).assign(weight=weights)
    unfinished = path.with_suffix(".unfinished.cool")
    cooler.create_cooler(
        str(unfinished),
        bins,
        pixels,
        dtypes={"count": np.float32},
        ordered=True,
        symmetric_upper=True,
        metadata=json.loads(json.dumps(metadata)),
    )
    unfinished.rename(path)
