"""Which baselines are made of which chromosomes, and the folder they go to."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hicray.config import DataConfig, UserError, digest
from hicray.evaluation.baseline_maps import BASELINES, Maker
from hicray.evaluation.filter_maps import FilterMaps
from hicray.evaluation.options import Baselines
from hicray.evaluation.rivals import FILTERS, UNCHOSEN
from hicray.io.copies import fingerprint
from hicray.io.notes import refuse_others, write_json
from hicray.io.storage import locate_uri, remove_leftovers
from hicray.maps.bands import Band
from hicray.maps.bins import SPLIT_NAMES, Region, SplitName, parse_split
from hicray.maps.contacts import open_map
from hicray.maps.contents import reads_within, require_contacts, require_lengths, require_sums
from hicray.maps.levels import levels
from hicray.maps.names import named_chroms
from hicray.maps.split import Grid, Sets, region_name, split_sets
from hicray.maps.thin import derive
from hicray.windows.enough import with_stride
from hicray.windows.plan import layout_of
from hicray.windows.sources import open_sources
from hicray.wording import command

HALF, OTHER_HALF = "half_reads.mcool", "other_half.mcool"
_CLAIM, _CHOSEN = "baselines.json", "chosen.json"


@dataclass(frozen=True)
class BaselinePlan:
    """What baselines are made of.

    Attributes:
        options: As a user named them.
        train: Chromosomes that the expected is taken from, and filters are fitted on.
        val: Chromosomes that filters are chosen on; without any, those that need none are made.
        chroms: Chromosomes that are written.
    """

    options: Baselines
    train: tuple[str, ...]
    val: tuple[str, ...]
    chroms: tuple[str, ...]

    def data(self) -> DataConfig:
        """Return the maps as a data set."""
        options = self.options
        return DataConfig(
            contacts=(options.contacts,),
            fine_bin_size=options.fine_bin_size,
            coarse_bin_sizes=(options.coarse_bin_size,),
            window_bins=options.window_bins,
            weights=options.weights,
            raw=options.raw,
            split=options.split,
        )

    def settings(self) -> dict[str, Any]:
        """Return all that decides what is written, with chromosomes by the map's own names."""
        named = asdict(self.options)
        del named["train_chroms"]  # in ``train`` as the map names them
        return named | {"train": self.train, "val": self.val, "chroms": self.chroms}

    @property
    def names(self) -> tuple[str, ...]:
        """Baselines that are written."""
        return (*BASELINES, *(FILTERS if self.val else UNCHOSEN))

    def sets(self, sizes: Mapping[str, int]) -> Sets:
        """Return the set of each chromosome that is learnt from, chosen on or written."""
        chosen: dict[SplitName, tuple[str, ...]]
        chosen = {"train": self.train, "val": self.val, "test": self.chroms}
        of = {chrom: split for split, own in chosen.items() for chrom in own}
        return {Region(c, 0, length): of[c] for c, length in sizes.items() if c in of}


def resolve(options: Baselines) -> BaselinePlan:
    """Check what baselines are to be made of, before any work.

    Raises:
        UserError: Chromosomes, bin sizes, window or weights do not fit.
    """
    plan = BaselinePlan(options, *_chromosomes(options))
    layout_of(plan.data())
    if options.coarse_bin_size == options.fine_bin_size:
        raise UserError(
            f"coarse bins of {options.coarse_bin_size:,} bp are the fine ones; give a multiple, "
            f"such as {2 * options.fine_bin_size:,}"
        )
    _check_levels(plan)
    return plan


def _check_levels(plan: BaselinePlan) -> None:
    """Refuse levels that are not of one map, or lack contacts or weights where they are needed."""
    options = plan.options
    sizes = [options.fine_bin_size]
    if options.coarse_bin_size in levels(options.contacts):
        sizes.append(options.coarse_bin_size)
    fine, *coarse = (open_map(options.contacts, b, weights_name=options.weights) for b in sizes)
    for level in coarse:
        require_lengths(fine, level)
    for level in () if options.raw else (fine, *coarse):
        level.weights(plan.chroms[0])
    reads = reads_within(fine, (*plan.train, *plan.chroms))
    for level in coarse:
        require_sums(fine, level, reads)
    for chroms, of in ((plan.train, "training"), (plan.chroms, "written")):
        require_contacts(fine, chroms, reads, of)


def file_name(name: str) -> str:
    """Return the file of a baseline, e.g. 'coarse_oe_x_fine_expected.cool'."""
    return name.replace("/", "").replace(" ", "_").lower() + ".cool"


def _chromosomes(options: Baselines) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the chromosomes to learn from, those to choose on, and those to write."""
    split, train = options.split, options.train_chroms
    if bool(split) == bool(train):
        given = f"--split {split} with --train-chroms {' '.join(train)}" if split else "neither"
        raise UserError(
            f"{given} says where the expected comes from; give one of --split and --train-chroms"
        )
    fine = open_map(options.contacts, options.fine_bin_size)
    train, chroms = named_chroms(train, fine), named_chroms(options.chroms, fine)
    offered = fine.chromsizes
    if split:
        learnt, chosen, judged = _of_split(options, offered)
    else:
        learnt, chosen = train, ()
        judged = tuple(chrom for chrom in offered if chrom not in train)
    written = chroms or judged
    used = dict.fromkeys(chosen, "chosen on") | dict.fromkeys(learnt, "learnt from")
    both = [chrom for chrom in written if chrom in used]
    if both or not written:
        chrom = both[0] if both else learnt[0]
        raise UserError(
            f"chromosome {chrom} would be both {used[chrom]} and judged; give --chroms that are "
            "in no other set"
        )
    return learnt, chosen, written


def _of_split(options: Baselines, offered: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
    """Return the chromosomes of a split's sets."""
    grid = Grid(options.window_bins * options.fine_bin_size, options.coarse_bin_size)
    sets = split_sets(parse_split(options.split), offered, grid)
    if any(region_name(one, offered) != one.chrom for one in sets):
        raise UserError(
            f"--split {options.split} is by region, and baselines are made of whole chromosomes; "
            "give a split by chromosome, or --train-chroms with --chroms"
        )
    learnt, chosen, judged = (
        tuple(one.chrom for one, name in sets.items() if name == split) for split in SPLIT_NAMES
    )
    if not learnt:
        raise UserError(
            f"--split {options.split} leaves no chromosome of {grid.window:,} bp, a window, to "
            "train on, and baselines take their expected from those; hold out fewer, or take "
            "smaller --window-bins"
        )
    return learnt, chosen, judged


def commands(plan: BaselinePlan, out: Path) -> list[str]:
    """Return what was chosen, and the lines that judge baselines and half of the reads."""
    out = out.resolve()
    shared = ["--bin-size", plan.options.fine_bin_size, "--window-bins", plan.options.window_bins]
    shared += ["--chroms", *plan.chroms]
    maps = [f"{name}={out / file_name(name)}" for name in plan.names]
    halves = ["--fine", out / OTHER_HALF, "--enhanced", f"half reads={out / HALF}"]
    evaluate = partial(command, "hicray", "evaluate")
    fine = locate_uri(plan.options.contacts)
    return [
        _chosen(plan, out),
        evaluate("--fine", fine, "--enhanced", *maps, *shared, "--out", out / "scores"),
        evaluate(*halves, *shared, "--out", out / "half_read_scores"),
    ]


def _chosen(plan: BaselinePlan, out: Path) -> str:
    left_out = [name for name in FILTERS if name not in plan.names]
    if left_out:
        return (
            f"without {' and '.join(left_out)}: they are chosen on validation chromosomes, which "
            "--train-chroms does not name; give --split 'train=...;val=...;test=...' for them"
        )
    found = json.loads((out / _CHOSEN).read_text())
    settings = ", ".join(f"{name} {width}" for name, width in found["settings"].items())
    return f"chosen on {', '.join(plan.val)}: {settings}; best there: {found['best']}"


def make_baselines(plan: BaselinePlan, out: Path) -> dict[str, Path]:
    """Write every baseline, or those that an interrupted run left out; return their paths.

    Raises:
        UserError: The folder belongs to another plan, or no window of a set is usable enough.
    """
    identity = _claim(plan, out)
    (source,) = open_sources(plan.data(), out / "derived")
    paths = {name: out / file_name(name) for name in plan.names}
    remove_leftovers(out)
    missing = [name for name, path in paths.items() if not path.exists()]
    if missing:
        maker = Maker(
            source, plan.options.window_bins, plan.train, plan.chroms, raw=plan.options.raw
        )
        made = _filters(plan, maker, out) if set(missing) & set(FILTERS) else {}
        for name in missing:
            metadata = {"hicray": {"baseline": name, **identity}}
            maker.write(name, paths[name], metadata, made.get(name))
    size = (plan.options.fine_bin_size,)
    derive(source.fine, size, out / HALF, keep=0.5, side="kept")
    derive(source.fine, size, out / OTHER_HALF, keep=0.5, side="dropped")
    return paths


def _filters(plan: BaselinePlan, maker: Maker, out: Path) -> dict[str, Callable[[str], Band]]:
    """Fit and choose filters, note what was chosen, and return what makes their bands."""
    sets = plan.sets(maker.source.fine.chromsizes)
    data = with_stride(plan.data()) if plan.val else plan.data()
    filters = FilterMaps(maker, data, sets)
    if plan.val:
        found = filters.fit()
        write_json(out / _CHOSEN, {"settings": found.settings, "best": found.best})
    return {name: partial(filters.band, name) for name in plan.names if name in FILTERS}


def _claim(plan: BaselinePlan, out: Path) -> dict[str, object]:
    """Make a folder this plan's own, and return what the plan is."""
    identity = {"plan": plan.settings(), "fingerprint": fingerprint(plan.options.contacts)}
    # A map that was moved is the same map: its folder does not count, its level does.
    level = {"contacts": plan.options.contacts.partition("::")[2]}
    plan_digest = digest([plan.settings() | level, identity["fingerprint"]])
    note = out / _CLAIM
    refuse_others(
        note,
        plan_digest,
        problem="holds other baselines",
        differs="another map, chromosomes or settings",
        option="--out folder",
    )
    out.mkdir(parents=True, exist_ok=True)
    write_json(note, {"digest": plan_digest, **identity})
    return {"digest": plan_digest, **identity}
