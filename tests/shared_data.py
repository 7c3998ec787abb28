"""Files that several tests read: real ones that are not in the repository, and small made ones."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cooler
import numpy as np
import pandas as pd
import pytest
from Bio.bgzf import BgzfWriter

SHARED = Path(__file__).parents[2] / "shared" / "data"


YEAST = "yeast_g1"


def shared_data(relative: str, *, real: bool = False) -> Path:
    """Return a path below $HICRAY_DATA, or ../shared/data.

    Where it is absent, yeast's map and genome have a stand-in that is drawn; a test that needs the
    real one, or another file, is skipped. With $HICRAY_NEEDS_DATA it fails instead.
    """
    path = Path(os.environ.get("HICRAY_DATA") or SHARED) / relative
    if path.exists():
        return path
    if os.environ.get("HICRAY_NEEDS_DATA"):
        pytest.fail(f"{path} is absent, and HICRAY_NEEDS_DATA says that it has to be there")
    folder, _, name = relative.partition("/")
    if folder == YEAST and not real:
        from tests.stand_in import stand_in

        return stand_in() / name
    pytest.skip(f"needs {path}; set HICRAY_DATA to its data folder", allow_module_level=True)


def write_fasta(path: Path, chromsizes: Mapping[str, int], width: int = 60) -> Path:
    """Write random bases for each chromosome."""
    rng = np.random.default_rng(1)
    with path.open("w") as file:
        for chrom, size in chromsizes.items():
            bases = "".join(rng.choice(list("ACGT"), size))
            file.write(f">{chrom}\n")
            file.writelines(f"{bases[i : i + width]}\n" for i in range(0, size, width))
    return path


def bgzf(source: Path, target: Path) -> Path:
    """Write a file's content as BGZF."""
    with BgzfWriter(str(target)) as file:
        file.write(source.read_bytes())
    return target


def write_map(
    path: Path | str, chromsizes: Mapping[str, int], bin_size: int, weights: str = "", **options
) -> str:
    """Write a .cool of random cis and trans counts, with a column of ones for weights if named."""
    rng = np.random.default_rng(2)
    bins = cooler.binnify(pd.Series(dict(chromsizes)), bin_size)
    if weights:
        bins[weights] = 1.0
    rows, cols = np.triu_indices(len(bins))
    counts = rng.poisson(20 / (1 + cols - rows))
    pixels = pd.DataFrame({"bin1_id": rows, "bin2_id": cols, "count": counts})
    cooler.create_cooler(str(path), bins, pixels[counts > 0], ordered=True, **options)
    return str(path)


def write_poisson(
    path: Path, num_bins: Mapping[str, int], bin_sizes: Sequence[int], rate: Callable
) -> str:
    """Write an .mcool of Poisson counts within chromosomes, whose rate depends on separation."""
    rng = np.random.default_rng(3)
    tables, offset = [], 0
    for bins in num_bins.values():
        rows, cols = np.triu_indices(bins)
        counts = rng.poisson(rate(cols - rows))
        pixels = {"bin1_id": rows + offset, "bin2_id": cols + offset, "count": counts}
        tables.append(pd.DataFrame(pixels)[counts > 0])
        offset += bins
    base = path.with_suffix(".base.cool")
    table = cooler.binnify(
        pd.Series({c: n * bin_sizes[0] for c, n in num_bins.items()}), bin_sizes[0]
    )
    cooler.create_cooler(str(base), table, pd.concat(tables), ordered=True)
    cooler.zoomify_cooler(str(base), str(path), list(bin_sizes), chunksize=10**7)
    return str(path)


def write_holes(path: Path, chromsizes: Mapping[str, int]) -> Path:
    """Write a FASTA of the given lengths whose bases are a hole on the disk, and its index."""
    index, at = [], 0
    with path.open("wb") as file:
        for chrom, size in chromsizes.items():
            at += file.write(f">{chrom}\n".encode())
            index.append(f"{chrom}\t{size}\t{at}\t{size}\t{size + 1}\n")
            at = file.seek(size, os.SEEK_CUR)
            at += file.write(b"\n")
    Path(f"{path}.fai").write_text("".join(index))
    return path
