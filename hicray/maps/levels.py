"""Levels of a contact map's file: which bin sizes it offers, and where."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cooler
import hictkpy
import numpy as np

from hicray.config import UserError
from hicray.io.copies import local

CONVERT = "convert the map anew by a current cooler or hic2cool"
_REQUIRED = ("format-version", "bin-type", "bin-size", "nbins", "nnz")
"""Attributes of a cooler without which one reader or another of the field fails."""


_NEWEST = 3
"""Cooler's format that its library writes."""


def levels(uri: str) -> dict[int, str]:
    """Return the bin sizes that a file offers, each with the URI of its map.

    A level whose bins are not of one size is left out, such as a coarse one at which every
    chromosome is a single bin, so that cooler marks it as variable.

    Args:
        uri: A .hic, .cool or .mcool path, or a cooler URI such as ``a.mcool::/resolutions/4000``
            (whose file's other resolutions are offered too).

    Raises:
        UserError: The file is missing, of no known format, or has no level with bins of one size.
    """
    path, _, group = uri.partition("::")
    file = local(path)
    if not file.is_file():
        raise UserError(f"contact map {path} does not exist; give a .mcool, .cool or .hic file")
    try:
        if hictkpy.is_hic(file):
            return {int(size): path for size in hictkpy.MultiResFile(file).resolutions()}
        groups = cooler.fileops.list_coolers(str(file))
    except (OSError, RuntimeError) as error:  # hictk raises the latter
        raise UserError(
            f"{path} is neither HDF5 (.mcool, .cool) nor .hic, or not all of it; it may be cut "
            "off or of another format: fetch or convert it anew"
        ) from error
    chosen = _choose(path, groups, group)
    sizes = {name: _bin_size(_attributes(file, name)) for name in chosen}
    offered = {size: f"{path}::{name}" for name, size in sizes.items() if size is not None}
    if not offered:
        _refuse(f"{path}::{chosen[0]}", _attributes(file, chosen[0]))
    return offered


def find_level(uri: str, bin_size: int) -> str:
    """Return the URI of the level that has bins of a size.

    Args:
        uri: As ``levels``.
        bin_size: In bp.

    Raises:
        UserError: As ``levels``; or the file has no such level, or not as hicray reads it.
    """
    offered = levels(uri)
    if bin_size in offered:
        level = offered[bin_size]
        if "::" in level:
            path, _, group = level.partition("::")
            _refuse(level, _attributes(local(path), group))
        return level
    path, group = uri.partition("::")[0], f"/resolutions/{bin_size}"
    if "::" in next(iter(offered.values())) and (attributes := _attributes(local(path), group)):
        # The level is there, and was left out of the offer for its bins.
        _refuse(f"{path}::{group}", attributes, sizes=_listed(offered))
    raise UserError(_no_level(uri, bin_size, offered))


def _attributes(file: Path, group: str) -> Mapping[str, Any]:
    """Return a group's attributes; none where the file has no such group."""
    try:
        attributes: Mapping[str, Any] = cooler.Cooler(f"{file}::{group}").info
    except KeyError:
        return {}
    return attributes


def _bin_size(attributes: Mapping[str, Any]) -> int | None:
    size = attributes.get("bin-size")
    return int(size) if isinstance(size, int | np.integer) else None


def _refuse(level: str, attributes: Mapping[str, Any], sizes: str = "") -> None:
    """Refuse a level that is not a symmetric map with bins of one size.

    Raises:
        UserError: Attributes are missing, bins vary, or both halves of the matrix are stored.
    """
    missing = [name for name in _REQUIRED if name not in attributes]
    if missing:
        several = f"attributes {', '.join(missing)}" if missing[1:] else f"attribute {missing[0]}"
        raise UserError(
            f"{level} lacks the {several}, by which readers of coolers tell what it holds; "
            f"{CONVERT}"
        )
    if attributes["format-version"] > _NEWEST:
        raise UserError(
            f"{level} is of cooler's format {attributes['format-version']}, and hicray reads up to "
            f"{_NEWEST}; {CONVERT}"
        )
    size = _bin_size(attributes)
    if size is None and sizes:
        raise UserError(
            f"{level} has bins of variable size, or one for each chromosome; hicray needs bins of "
            f"one size, and several on a chromosome: choose one of {sizes}"
        )
    if size is None:
        raise UserError(
            f"{level} has bins of variable size; hicray needs bins of one size: bin "
            "the reads anew, for instance by `cooler cload pairs CHROMSIZES:4000 ...`"
        )
    mode = attributes.get("storage-mode", "symmetric-upper")
    if mode != "symmetric-upper":
        raise UserError(
            f"{level} is stored as {mode}, and hicray reads maps of which the upper half is "
            f"stored; if it is symmetric, write it so: `cooler dump {level} | awk '$1 <= $2' | "
            f"cooler load -f coo CHROMSIZES:{size} - new.cool`"
        )


def _choose(path: str, groups: list[str], group: str) -> list[str]:
    resolutions = [g for g in groups if g.startswith("/resolutions/")]
    wanted = "/" + group.strip("/")
    if not groups:
        raise UserError(f"{path} is HDF5 but holds no contact map; give a .mcool or .cool file")
    if group and wanted not in groups:
        raise UserError(
            f"{path} has no {wanted}; choose one of those that it has: {', '.join(groups[:8])}"
        )
    if resolutions and (not group or wanted in resolutions):
        return resolutions
    if group or "/" in groups:
        return [wanted]
    raise UserError(
        f"{path} holds {len(groups)} maps that are no resolutions of one map "
        f"({', '.join(groups[:2])}{', ...' if len(groups) > 2 else ''}); "
        f"choose one as {path}::GROUP"
    )


def _no_level(uri: str, bin_size: int, offered: Mapping[int, str]) -> str:
    sentence = (
        f"{uri} has no bins of {bin_size:,} bp; it has {_listed(offered)}: choose one of them"
    )
    finer = [size for size, level in offered.items() if "::" in level and bin_size % size == 0]
    if bin_size > 0 and finer:
        sentence += f", or add it with `cooler zoomify -r {bin_size} {offered[max(finer)]}`"
    return sentence


def _listed(offered: Mapping[int, str]) -> str:
    return ", ".join(f"{size:,}" for size in sorted(offered))
