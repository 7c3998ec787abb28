"""``hicray evaluate`` and ``hicray baselines``: any maps, judged, and what they have to beat."""

from pathlib import Path

from hicray.cli.guard import say
from hicray.evaluation.options import Baselines, Evaluate


def evaluate(maps: Evaluate, out: Path) -> None:
    """Score maps against a fine map: windows, distances, insulation, boundaries, decay.

    Args:
        maps: The maps.
        out: Folder for evaluate.md, evaluate.json and the figures.
    """
    from hicray.evaluation.compared import checked, open_compared
    from hicray.evaluation.score_maps import evaluate as run
    from hicray.evaluation.tables import identify, refuse_other, write

    maps = checked(maps)
    identity = identify(maps)
    refuse_other(out, identity)
    say(write(run(open_compared(maps)), out, identity), f"written: {out}")


def baselines(maps: Baselines, out: Path) -> None:
    """Write what a model has to beat as maps: upsampled, filters, by distance, half reads.

    Args:
        maps: What they are made of.
        out: Folder for the maps; an interrupted run is finished.
    """
    from hicray.evaluation.baseline_plan import commands, make_baselines, resolve

    plan = resolve(maps)
    made = make_baselines(plan, out)
    say(*(f"{name}: {path}" for name, path in made.items()), *commands(plan, out))
