"""What a simulated genome holds: its structure, the DNA that tells of it, and its contact rates.

Anchors lie in random bins, each with an orientation. An instance of one motif marks each of them
in the DNA, on the + or the - strand. From the anchors come loops, stripes and insulation:

    log rate(i, j) = log depth - decay log(d + 1) + compartment c_i c_j
                     - insulation min(anchors between, 4) + structure(i, j) + v_i + v_j

with d = |j - i| in bins, c a compartment track that GC content follows, structure the loops and
stripes, v a visibility per bin. Everything is a pure function of the configuration, each part
with random numbers of its own: maps are the same whether or not the DNA tells of them.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from hicray.maps.bins import num_bins
from hicray.maps.genome import Codes, encode

CUT_SITE = "GAATTC"
"""EcoRI's: its own reverse complement, so that a count of it has no strand."""
MAX_CUT_SITES = 8
"""Cut sites written into one bin, at most; 4 stand for mean visibility, 2 for its deviation."""
_GC = 0.45
"""Mean GC content."""
_MAX_INSULATING = 4
"""Anchors between two bins that insulate; further ones change nothing."""
_LOOP_BINS = range(3, 120)
"""Separations at which convergent anchors form a loop."""
_LOOP_WIDTH = 0.6
"""Standard deviation of a loop's spot, in bins."""
_PASSED = 0.5
"""What is left of a loop or a stripe with each anchor that it passes."""
_MAX_STRUCTURE = 2.0
"""Largest log fold of loops and stripes together, before a cell line's factor."""
_COMPARTMENT_BINS = (15, 60)
"""Shortest and longest compartment, in bins."""

Track = Float64[np.ndarray, " bins"]
Rates = Float64[np.ndarray, "bins bins"]
Mask = Bool[np.ndarray, " bins"]
Pwm = Float64[np.ndarray, "positions 4"]
Words = UInt8[np.ndarray, "instances positions"]


@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """What is simulated; strengths are natural logs of fold changes."""

    bin_size: int = 128
    """Of the finest level, in bp; 2 and 4 times that are written too."""
    num_chromosomes: int = 48
    chromosome_bins: int = 544
    """Bins of a chromosome, a multiple of 4; every third ends within its last bin, and every
    third within the bin before that, so that the last coarse bin is short of bins as well."""
    depth: float = 1_000.0
    """Mean count on the main diagonal, without any structure."""
    decay: float = 0.8
    """Exponent with which contacts fall with (separation in bins + 1)."""
    motif_length: int = 14
    """In bases."""
    motif_mutation: float = 0.03
    """Probability that a base of an instance is not the consensus."""
    anchor_density: float = 0.08
    """Share of the bins that hold an anchor."""
    insulation: float = 0.15
    """Lost with each anchor between two bins, up to 4 of them."""
    loop_strength: float = 2.0
    """Centre of a loop of neighbouring convergent anchors; halved by each anchor between."""
    stripe_strength: float = 1.2
    """Stripe from an anchor; halved by each opposite anchor that it passes."""
    compartment_strength: float = 0.2
    """Gained within a compartment, lost between two."""
    gc_coupling: float = 0.12
    """GC content of one compartment above, of the other below, the mean of 0.45."""
    visibility_sd: float = 0.1
    """Standard deviation of the bins' visibility, a bias like a real map's."""
    structure_in_dna: bool = True
    """Mark anchors by motifs and compartments by GC; False: same maps, DNA that tells nothing."""
    visibility_in_dna: bool = False
    """Write visibility as the number of cut sites of a bin (then one for all cell lines)."""
    seed: int = 0


@dataclass(frozen=True)
class CellLine:
    """A map of the common genome."""

    name: str
    depth: float = 1.0
    """Factor of the configuration's depth."""
    strength: float = 1.0
    """Factor of loops, stripes and insulation."""
    visibility_seed: int = 0
    """Cell lines with the same one share their visibility."""


CELL_LINES = (CellLine("cell_a"), CellLine("cell_b", depth=0.5, strength=0.7, visibility_seed=1))
"""Two lines that share the DNA and differ in depth, strength and what the DNA does not decide."""


class Plan(NamedTuple):
    """A chromosome's structure.

    Attributes:
        filled: Bases in each bin; the last bin may have fewer than the others.
        anchors: 1 for a + anchor, -1 for a - anchor, 0 for none.
        starts: Where in bp the motif of each anchor lies, in the order of the anchors.
        compartments: Between -1 and 1.
    """

    filled: Int64[np.ndarray, " bins"]
    anchors: Int64[np.ndarray, " bins"]
    starts: Int64[np.ndarray, " anchors"]
    compartments: Track


def random_numbers(config: SimulationConfig, *purpose: str | int) -> np.random.Generator:
    """Return the random numbers of one purpose, which no other purpose disturbs."""
    return np.random.default_rng([config.seed, *"/".join(map(str, purpose)).encode()])


def plan_chromosome(config: SimulationConfig, chrom: str, length: int) -> Plan:
    """Place anchors and compartments on a chromosome of ``length`` bp.

    Args:
        config: Densities and strengths.
        chrom: Its name, from which its random numbers follow.
        length: In bp.
    """
    rng = random_numbers(config, "anchors", chrom)
    bins = np.arange(num_bins(length, config.bin_size))
    filled = np.minimum(length - bins * config.bin_size, config.bin_size)
    strand, within = rng.choice([-1, 1], len(bins)), rng.random(len(bins))
    room = filled - config.motif_length + 1
    anchors = np.where((rng.random(len(bins)) < config.anchor_density) & (room > 0), strand, 0)
    starts = bins * config.bin_size + np.floor(within * room).astype(np.int64)
    return Plan(filled, anchors, starts[anchors != 0], _compartments(config, chrom, len(bins)))


def _compartments(config: SimulationConfig, chrom: str, bins: int) -> Track:
    rng = random_numbers(config, "compartments", chrom)
    shortest, longest = _COMPARTMENT_BINS
    sizes = rng.integers(shortest, longest + 1, bins // shortest + 1)
    signs = rng.choice([-1.0, 1.0]) * (-1.0) ** np.arange(len(sizes))
    # Borders are no steps: a mean of three bins softens them.
    blocks = np.pad(np.repeat(signs, sizes)[:bins], 1, mode="edge")
    return np.convolve(blocks, np.full(3, 1 / 3), mode="valid")


def visibility(config: SimulationConfig, cell: CellLine, chrom: str, bins: int) -> Track:
    """Return each bin's log visibility in a cell line.

    Args:
        config: How much it varies, and whether the DNA shows it.
        cell: Cell line.
        chrom: Chromosome.
        bins: How many it has.
    """
    seed = 0 if config.visibility_in_dna else cell.visibility_seed
    return config.visibility_sd * _standard_visibility(config, seed, chrom, bins)


def _standard_visibility(config: SimulationConfig, seed: int, chrom: str, bins: int) -> Track:
    return random_numbers(config, "visibility", seed, chrom).standard_normal(bins)


def contact_rates(config: SimulationConfig, cell: CellLine, plan: Plan, v: Track) -> Rates:
    """Return the mean count of every pixel, symmetric.

    Args:
        config: Depth, decay and strengths.
        cell: Its factors.
        plan: Anchors and compartments.
        v: Log visibility by bin.
    """
    bins = np.arange(len(v))
    separation = np.abs(bins[:, None] - bins)
    barriers = np.minimum(_between(plan.anchors != 0), _MAX_INSULATING)
    upper = cell.strength * (_structure(config, plan) - config.insulation * barriers)
    # A bin that is partly filled has so many fewer bases to be seen at.
    seen = v + np.log(plan.filled / config.bin_size)
    log_rates = (
        np.log(config.depth * cell.depth)
        - config.decay * np.log(separation + 1)
        + config.compartment_strength * plan.compartments[:, None] * plan.compartments
        + np.triu(upper)
        + np.triu(upper, 1).T
        + seen[:, None]
        + seen
    )
    rates: Rates = np.exp(log_rates)
    return rates


def loop_strengths(config: SimulationConfig, plan: Plan) -> Rates:
    """Return each loop's log fold at (+ anchor's bin, - anchor's bin); 0 where there is none."""
    bins = np.arange(len(plan.anchors))
    separation = bins - bins[:, None]
    near = (separation >= _LOOP_BINS.start) & (separation < _LOOP_BINS.stop)
    convergent = (plan.anchors > 0)[:, None] & (plan.anchors < 0) & near
    passed = _PASSED ** _between(plan.anchors != 0)
    return np.where(convergent, config.loop_strength * passed, 0.0)


def _structure(config: SimulationConfig, plan: Plan) -> Rates:
    """Return the log fold of loops and stripes; holds above the diagonal."""
    bins = np.arange(len(plan.anchors))
    spread = np.exp(-(((bins - bins[:, None]) / _LOOP_WIDTH) ** 2) / 2)
    # A Gaussian around each loop, along rows and then along columns.
    loops = spread @ loop_strengths(config, plan) @ spread
    plus, minus = plan.anchors > 0, plan.anchors < 0
    rightwards = plus[:, None] * _PASSED ** _between(minus)
    leftwards = minus * _PASSED ** _between(plus)
    stripes = np.triu(config.stripe_strength * (rightwards + leftwards), 1)
    structure: Rates = np.minimum(loops + stripes, _MAX_STRUCTURE)
    return structure


def _between(mask: Mask) -> Rates:
    """Count the bins of ``mask`` strictly between row and column; 0 below the diagonal."""
    # before[j] - before[i + 1] are those of i + 1 ... j - 1.
    before = np.concatenate([[0], np.cumsum(mask)])
    counts: Rates = np.maximum(before[:-1] - before[1:, None], 0).astype(np.float64)
    return counts


def random_pwm(config: SimulationConfig) -> Pwm:
    """Return the motif's base probabilities by position, around a random consensus."""
    rng = random_numbers(config, "motif")
    consensus = rng.integers(0, 4, config.motif_length)
    # A near palindrome would look alike on both strands and hide its orientation.
    while np.mean(consensus == 3 - consensus[::-1]) > 0.5:
        consensus = rng.integers(0, 4, config.motif_length)
    pwm = np.full((config.motif_length, 4), config.motif_mutation / 3)
    pwm[np.arange(config.motif_length), consensus] = 1 - config.motif_mutation
    return pwm


def chromosome_dna(config: SimulationConfig, chrom: str, plan: Plan, pwm: Pwm) -> Codes:
    """Return a chromosome's bases, with motifs, GC content and cut sites as configured.

    Args:
        config: What is written in the DNA.
        chrom: Chromosome.
        plan: Where its anchors and compartments lie.
        pwm: The motif: frequencies of A, C, G, T at each position.
    """
    rng = random_numbers(config, "bases", chrom)
    coupling = config.gc_coupling if config.structure_in_dna else 0.0
    codes = _random_bases(rng, np.repeat(_GC + coupling * plan.compartments, plan.filled))
    if config.visibility_in_dna:
        wanted = 4 + 2 * _standard_visibility(config, 0, chrom, len(plan.filled))
        num_sites = np.clip(np.rint(wanted), 0, MAX_CUT_SITES).astype(np.int64)
        _plant_cut_sites(random_numbers(config, "sites", chrom), codes, num_sites, config.bin_size)
    if config.structure_in_dna:
        anchors = plan.anchors[plan.anchors != 0]
        words = _sample_words(random_numbers(config, "words", chrom), pwm, anchors < 0)
        _plant(codes, plan.starts, words)
    return codes


def _random_bases(rng: np.random.Generator, gc: Float64[np.ndarray, " bases"]) -> Codes:
    # C and G are codes 1 and 2, A and T are 0 and 3.
    strong = rng.random(len(gc)) < gc
    second = rng.integers(0, 2, len(gc), dtype=np.uint8)
    return np.where(strong, 1 + second, 3 * second).astype(np.uint8)


def _sample_words(
    rng: np.random.Generator, pwm: Pwm, reverse: Bool[np.ndarray, " instances"]
) -> Words:
    """Draw an instance of the motif for each entry of ``reverse``, as the + strand reads."""
    # The code of a base is how many of the first three cumulated probabilities its draw exceeds.
    draws = rng.random((len(reverse), len(pwm), 1))
    words = (draws > np.cumsum(pwm, axis=1)[:, :3]).sum(axis=-1).astype(np.uint8)
    # Codes of complements add up to 3.
    read: Words = np.where(reverse[:, None], 3 - words[:, ::-1], words)
    return read


def _plant_cut_sites(
    rng: np.random.Generator, codes: Codes, num_sites: Int64[np.ndarray, " bins"], bin_size: int
) -> None:
    """Write cut sites at random places of each bin; never two over each other."""
    slots = bin_size // len(CUT_SITE)
    # Each bin's slots in random order, of which as many are taken as it has sites.
    ranks = rng.random((len(num_sites), slots)).argsort(axis=1).argsort(axis=1)
    rows, slot = np.nonzero(ranks < num_sites[:, None])
    starts = rows * bin_size + slot * len(CUT_SITE)
    starts = starts[starts + len(CUT_SITE) <= len(codes)]
    _plant(codes, starts, np.tile(encode(CUT_SITE), (len(starts), 1)))


def _plant(codes: Codes, starts: Int64[np.ndarray, " instances"], words: Words) -> None:
    codes[starts[:, None] + np.arange(words.shape[1])] = words
