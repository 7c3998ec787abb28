"""A whole map through a network: tiles, predicted and blended by chromosome, to an .mcool.

    driver   units (a run of tile rows) in order ->  ...  -> adds what overlaps -> parts, .mcool
    actors   a chromosome's coarse band -> windows -> network -> blend of the unit's own tiles

A chromosome whose part is there is not enhanced again.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float32

from hicray.config import UserError
from hicray.io.copies import fingerprint
from hicray.io.lock import LOCK, exclusive
from hicray.io.notes import write_json
from hicray.io.progress import tqdm
from hicray.io.storage import locate, remove_leftovers, replaced
from hicray.maps.assembly import assembly_of
from hicray.maps.tracks import parse_tracks
from hicray.maps.write import band_pixels, genome_wide, own_version, write_enhanced
from hicray.predict.locus import MapFacts, measure_for
from hicray.predict.tiler import Blended, Clock, Job, Unit, peak_bytes, tiles_of, units_of
from hicray.predict.unit import balanced_per_contact
from hicray.windows.bin_table import read_note
from hicray.windows.tiles import Blend

VERSION = 3
"""To be raised when the same inputs would give another map."""
NOTE, FACTS = "enhance.json", "map.json"


@dataclass(frozen=True)
class Done:
    """What was written, and what it cost.

    Attributes:
        scale: Whose scale the network took, and why.
        tiles: How many were predicted now.
        seconds: By stage.
        peak_bytes: Largest resident memory, of the driver and of an actor.
    """

    out: Path
    scale: str
    tiles: int
    seconds: Mapping[str, float]
    peak_bytes: tuple[int, int]


Predict = Callable[[Job, MapFacts, list[Unit]], Iterator[Blended]]
"""Predicts units, in order: Ray's actors (``actors.on_ray``) or this process (``in_process``)."""


def refuse_other_parts(job: Job) -> None:
    """Refuse the remains of another run.

    Raises:
        UserError: The folder of parts belongs to another network, map, genome or tiling.
    """
    note = job.parts / NOTE
    other = json.loads(note.read_text()) != _identity(job) if note.is_file() else _holds_parts(job)
    if other:
        raise UserError(
            f"{job.parts} holds chromosomes of another run (another network, map, genome or "
            "reach); remove it, or give another --out"
        )


def _holds_parts(job: Job) -> bool:
    return any(path.name != LOCK for path in job.parts.glob("*"))


def _identity(job: Job) -> dict[str, Any]:
    """Return all that a chromosome's part depends on."""
    contacts = job.contacts
    identity = {
        "network": job.network.digest,
        "trained": asdict(job.network.trained),
        "contacts": fingerprint(contacts.uri),
        "level": [contacts.uri.partition("::")[2], contacts.bin_size, contacts.weights_name],
        "genome": fingerprint(job.dna.fasta) if job.dna else "",
        **_bins_of(job),
        "tiling": job.tiling._asdict(),
        "version": VERSION,
    }
    # As the note gives it back, where tuples have become lists.
    plain: dict[str, Any] = json.loads(json.dumps(identity))
    return plain


def _bins_of(job: Job) -> dict[str, str]:
    """Return what tells stored embeddings and tracks from others; nothing where none are read."""
    known = {}
    if job.dna is not None and job.dna.embeddings:
        known["embeddings"] = read_note(locate(job.dna.embeddings)).digest
    if job.tracks is not None:
        for name, file in parse_tracks(job.tracks.measured.tracks).items():
            known[f"track {name}"] = fingerprint(file)
    return known


def enhance(job: Job, predict: Predict) -> Done:
    """Write the enhanced map, going on where an interrupted run of the same job stopped.

    Args:
        job: Checked by ``refuse_other_parts`` and its maker.
        predict: How units are predicted.

    Raises:
        UserError: Another run writes this map, or its parts are another's.
    """
    with exclusive(job.parts, "--out"):
        refuse_other_parts(job)  # again: another run may just have begun there
        write_json(job.parts / NOTE, _identity(job))
        remove_leftovers(job.parts)
        return _enhance(job, predict)


def _enhance(job: Job, predict: Predict) -> Done:
    clock = Clock()
    facts = _facts(job)
    scale = job.network.trained.chosen(facts.total_reads)
    genome_length = sum(job.contacts.chromsizes.values())
    job = replace(job, network=job.network.for_map(facts.total_reads, genome_length))
    clock.lap("decay")
    remaining = [chrom for chrom in job.chroms if not _part(job, chrom).exists()]
    units = [unit for chrom in remaining for unit in units_of(job, chrom)]
    tiles = peak = 0
    if units:
        tiles, peak = _run(job, remaining, predict(job, facts, units), clock)
    _write(job, facts)
    clock.lap("write")
    return Done(job.out, scale, tiles, dict(clock.seconds), (peak_bytes(), peak))


def _facts(job: Job) -> MapFacts:
    """Return what is known of the whole map, from the parts if an earlier run left it there."""
    note = job.parts / FACTS
    if not note.exists():
        write_json(note, asdict(measure_for(job.network.trained, job.contacts)))
    fields = json.loads(note.read_text())
    return MapFacts(fields["total_reads"], fields["scale"], tuple(fields["expected"]))


def _part(job: Job, chrom: str) -> Path:
    # Names of chromosomes may hold what a file's cannot.
    return job.parts / f"{list(job.contacts.chromsizes).index(chrom)}.npy"


def _run(job: Job, chroms: list[str], results: Iterator[Blended], clock: Clock) -> tuple[int, int]:
    """Blend the units of each chromosome in turn, and write its part; count tiles and memory."""
    units = {chrom: units_of(job, chrom) for chrom in chroms}
    total = sum(
        len(t)
        for chrom_units in units.values()
        for unit in chrom_units
        for t in tiles_of(job, unit)
    )
    done = peak = 0
    with tqdm(total=total, desc="enhance", unit="tile") as bar:
        for chrom, chrom_units in units.items():
            bar.set_postfix_str(chrom)
            blend = Blend(job.fine.num_bins(chrom), reach=job.tiling.reach)
            # Not strict: the results of the chromosomes that follow are still to come.
            for unit, result in zip(chrom_units, results, strict=False):
                assert result.unit == unit, "units come back in order"
                clock.skip()  # the actors' clocks tell what was waited for
                blend.merge(unit.rows[0], result.sums)
                clock.add(result.seconds)
                clock.lap("merge")
                done, peak = done + result.tiles, max(peak, result.peak_bytes)
                bar.update(result.tiles)
            _write_part(job, chrom, blend)
            clock.lap("write")
    return done, peak


def _write_part(job: Job, chrom: str, blend: Blend) -> None:
    with replaced(_part(job, chrom)) as path, path.open("wb") as file:
        np.save(file, blend.mean().astype(np.float32))


def _write(job: Job, facts: MapFacts) -> None:
    """Write the parts as one map, beside the result, and rename it."""
    fine = job.fine
    # A usable bin has a pixel on the diagonal; elsewhere the band is NaN.
    usable = {chrom: np.isfinite(_band(job, chrom)[:, 0]) for chrom in job.chroms}
    tables = {chrom: _pixels(job, chrom) for chrom in job.chroms}
    unit = balanced_per_contact(job, partial(_band, job), job.chroms) * job.network.trained.factor
    unfinished = job.out.with_suffix(".unfinished.mcool")
    bar = tqdm(genome_wide(fine, tables), desc=f"write {job.out.name}", unit="block")
    write_enhanced(
        unfinished,
        fine,
        iter(bar),
        usable,
        _metadata(job, facts),
        unit=unit,
        assembly=assembly_of(job.contacts),
    )
    if job.out.exists():
        raise UserError(
            f"{job.out} was not there when this run began; move it away, and give the same "
            f"command again, which finds all chromosomes in {job.parts}"
        )
    unfinished.rename(job.out)
    shutil.rmtree(job.parts)


def _band(job: Job, chrom: str) -> Float32[np.ndarray, "bins separations"]:
    """Return a finished chromosome, mapped rather than read."""
    band: Float32[np.ndarray, "bins separations"] = np.load(_part(job, chrom), mmap_mode="r")
    return band


def _pixels(job: Job, chrom: str) -> Iterator[pd.DataFrame]:
    """Open a chromosome when its turn comes."""
    yield from band_pixels(_band(job, chrom))


def _metadata(job: Job, facts: MapFacts) -> dict[str, Any]:
    trained = asdict(job.network.trained)
    (source,) = trained.pop("sources")
    del source["fine_expected"]
    return {
        "hicray": own_version(),
        "model": job.network.where,
        "model_sha256": job.network.digest,
        "trained": trained,
        "source": source,
        "contacts": job.contacts.uri,
        "contacts_sha256": fingerprint(job.contacts.uri),
        "genome": job.dna.fasta if job.dna else None,
        **_bins_of(job),
        "total_reads": facts.total_reads,
        "scale": "contacts as of the target maps of training, scaled so that a whole map's "
        + ("reads are counted" if trained["raw"] else "balanced sum equals its reads"),
        "scale_of_input": facts.scale,
        "reach_bp": job.tiling.reach * trained["fine_bin_size"],
        "chroms": list(job.chroms),
    }
