"""Base pairs, bins, and which chromosomes train, validate and test.

A split is by chromosome, or by regions a window apart: neighbouring loci resemble each other, so
that windows that touch across a split would leak. Names match exactly, else with or without 'chr'.
"""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from hicray.config import UserError

SplitName = Literal["train", "val", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "val", "test")
_MITOCHONDRIAL = frozenset({"m", "mt", "mito"})
"""Rings in many copies, folded as no chromosome is; names without 'chr', in lower case."""
# A comma that separates thousands comes after a start or an end of one to three digits, and has
# three digits on its other side: of 2L:0-3,000 the items are 2L:0-3 and 000.
_CUT = re.compile(r":(\d+-)?\d{1,3}$")
_CUT_OFF = re.compile(r"\d{3}(-\d+)?")
"""The two sides of a comma within a position."""


@dataclass(frozen=True)
class Split:
    """Chromosomes, or regions of them, of each set; ``train=None`` takes all that no other names.

    Regions are texts such as '2L:0-3M', which ``split.assign`` reads where lengths are known.
    """

    train: tuple[str, ...] | None
    val: tuple[str, ...]
    test: tuple[str, ...]


def _numbers(*spans: int | range) -> tuple[str, ...]:
    return tuple(str(n) for s in spans for n in (s if isinstance(s, range) else (s,)))


_AUTOSOMES_HICARN = _numbers(1, 3, 5, range(7, 10), 11, 13, 15, range(17, 20), 21, 22)
_AUTOSOMES_VEHICLE = _numbers(1, 3, 5, 6, 7, 9, range(11, 14), 15, range(17, 20), 21)
NAMED_SPLITS: Mapping[str, Split] = {
    "orca": Split(None, _numbers(8), _numbers(9, 10)),  # also Evo2HiC
    # Its authors held out 4, 5, 11 and 14 without naming a validation set; 4 is taken for it.
    "hicfoundation": Split(None, _numbers(4), _numbers(5, 11, 14)),
    "hicarn": Split(_AUTOSOMES_HICARN, _numbers(2, 6, 10, 12), _numbers(4, 14, 16, 20)),
    "vehicle": Split(_AUTOSOMES_VEHICLE, _numbers(2, 8, 10, 22), _numbers(4, 14, 16, 20)),
    # DeepHiC trained on 1-14 and names no validation set; 14 is taken for it.
    "deephic": Split(_numbers(range(1, 14)), _numbers(14), _numbers(range(15, 23))),
    "corigami": Split(None, _numbers(10), _numbers(15)),
    "hic2microc": Split(None, _numbers(17), _numbers(1)),
    # SR-VAE trained on 1-16 and tested on 19-22; the chromosomes between are taken to validate.
    "srvae": Split(_numbers(range(1, 17)), _numbers(17, 18), _numbers(range(19, 23))),
}


ALL = "all"
"""Every chromosome trains, and none is held out."""


class Region(NamedTuple):
    """A stretch of a chromosome, 0-based and half-open, in bp."""

    chrom: str
    start: int
    end: int


def parse_region(text: str) -> Region:
    """Read ``chrom:start-end``, with or without thousands separators.

    Raises:
        UserError: It is not of that form, or empty.
    """
    chrom, _, span = text.rpartition(":")
    start, _, end = span.replace(",", "").partition("-")
    if not chrom or not start.isdecimal() or not end.isdecimal() or int(start) >= int(end):
        raise UserError(f"{text!r} is no stretch of DNA; give chrom:start-end, as chr8:40000-44000")
    return Region(chrom, int(start), int(end))


def num_bins(length: int, bin_size: int) -> int:
    """Return how many bins of ``bin_size`` bp cover ``length`` bp, the last one partly."""
    return -(-length // bin_size)


def bare(chrom: str) -> str:
    """Return a chromosome's name without 'chr'."""
    return chrom.removeprefix("chr")


def named_chrom(name: str, chroms: Container[str]) -> str | None:
    """Return which chromosome a user names: exactly, or else with or without 'chr'.

    A map may have both 1 and chr1, which are then two chromosomes.

    Args:
        name: As given.
        chroms: The file's names.
    """
    spellings = (name, f"chr{name}", bare(name))
    return next((chrom for chrom in spellings if chrom in chroms), None)


def parse_split(text: str) -> Split:
    """Read a split: one of ``NAMED_SPLITS``, or 'val=chrII,chrXI;test=chrIV:0-500k[;train=...]'.

    Raises:
        UserError: Neither a known name nor that form, a chromosome is named twice, or a position
            has thousands separators.
    """
    split = read_split(text)
    if not (split.val and split.test):
        raise UserError(_unknown(text))
    return split


def read_split(text: str) -> Split:
    """Read a split as ``parse_split``, or what a refit trains on: 'all', or 'train=...' alone.

    Raises:
        UserError: It is none of these.
    """
    if text == ALL:
        return Split(None, (), ())
    split = NAMED_SPLITS.get(text) or _parse_sets(text)
    _refuse_overlap(split, text)
    return split


def nothing_held_out(text: str) -> str:
    """Return the split that trains on all that a split trains, validates and tests on.

    A chromosome that it leaves out of all three stays out.
    """
    split = parse_split(text)
    if split.train is None:
        return ALL
    return f"train={','.join((*split.train, *split.val, *split.test))}"


def _unknown(text: str) -> str:
    return (
        f"split {text!r} is not known; name one of {', '.join(NAMED_SPLITS)}, "
        "or give your own as 'val=chrA,chrB;test=chrC', or by region, 'val=chrA:0-3M;...'"
    )


def _parse_sets(text: str) -> Split:
    sets: dict[str, tuple[str, ...]] = {}
    for part in filter(None, (p.strip() for p in text.split(";"))):
        name, _, chroms = part.partition("=")
        names = tuple(c.strip() for c in chroms.split(",") if c.strip())
        if name.strip() not in SPLIT_NAMES or not names or name.strip() in sets:
            sets = {}
            break
        _refuse_separators(names)
        sets[name.strip()] = names
    if not {"val", "test"} <= sets.keys() and sets.keys() != {"train"}:
        raise UserError(_unknown(text))
    return Split(sets.get("train"), sets.get("val", ()), sets.get("test", ()))


def _refuse_separators(items: tuple[str, ...]) -> None:
    """Refuse 2L:0-3,000,000, which commas have cut into items."""
    for item, following in pairwise(items):
        if _CUT.search(item) and _CUT_OFF.fullmatch(following):
            raise UserError(
                f"'{item},{following}' has thousands separators, but commas separate the items of "
                "a split; write positions without, as 2L:0-3000000 or 2L:0-3M"
            )


def _refuse_overlap(split: Split, text: str) -> None:
    seen: dict[str, str] = {}
    for name in SPLIT_NAMES:
        for chrom in getattr(split, name) or ():
            if chrom in seen:
                raise UserError(
                    f"split {text!r} has chromosome {chrom} in both {seen[chrom]} and {name}; a "
                    "chromosome belongs to one set"
                )
            seen[chrom] = name


def teaching(sizes: Mapping[str, int], window: int) -> tuple[str, ...]:
    """Return the chromosomes that training and expected curves may learn from.

    Mitochondrial DNA and what is shorter than a window are not among them.

    Args:
        sizes: Length of each chromosome, in bp.
        window: Length of a window, in bp.
    """
    return tuple(
        chrom
        for chrom, length in sizes.items()
        if length >= window and bare(chrom).lower() not in _MITOCHONDRIAL
    )
