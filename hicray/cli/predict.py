"""``hicray enhance`` and ``hicray ablate``: a trained network put to use."""

from typing import TYPE_CHECKING

from hicray.cli.data_set import connect
from hicray.cli.guard import say
from hicray.config import Run
from hicray.predict.request import Ablate, Enhance

if TYPE_CHECKING:
    from hicray.predict.enhance import Done


def enhance(request: Enhance) -> None:
    """Sharpen a whole map at the fine bin size, and write it as an .mcool for HiGlass.

    An absent pixel of the result is a 0. Chromosomes that an interrupted run finished are kept.
    """
    done = enhance_map(request)
    spent = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in done.seconds.items())
    here, there = (f"at most {peak / 2**30:.2f} GiB" for peak in done.peak_bytes)
    say(done.scale, f"{done.out}: {done.tiles} tiles; {spent}; {here} here, {there} in an actor")


def enhance_map(request: Enhance) -> "Done":
    """Check what is asked for, start or join Ray, and write the enhanced map.

    Raises:
        UserError: The first thing that would stop the work, in one sentence.
    """
    from hicray.predict.preflight import check

    job = check(request)
    connect(Run(use_gpu=request.use_gpu))
    from hicray.predict.actors import on_ray
    from hicray.predict.enhance import enhance as run

    return run(job, on_ray)


def ablate(request: Ablate) -> None:
    """Draw what replacing a stretch of DNA by random bases does to the map around it."""
    from hicray.predict.preflight import check_ablation

    opened, region = check_ablation(request)
    from hicray.figures import png
    from hicray.predict.ablation import ablate_locus

    found = ablate_locus(opened, region, draws=request.draws)
    request.out.write_bytes(png(found.picture()))
    change = found.ablation.log2_change.abs()
    say(
        found.scale,
        f"{request.out}: without it, contacts of the window change by {float(change.mean()):.4f} "
        f"(mean |log2|) and at most {float(change.max()):.4f}",
    )
