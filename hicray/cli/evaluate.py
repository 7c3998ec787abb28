"""``hicray evaluate`` and ``hicray baselines``: any maps, judged, and what they have to beat."""

from hicray.cli.guard import say
from hicray.evaluation.options import Baselines, Evaluate


def evaluate(options: Evaluate) -> None:
    """Score maps against a fine map: windows, distances, insulation, boundaries, decay."""
    from hicray.evaluation.compared import open_compared, resolve
    from hicray.evaluation.score_maps import evaluate as run
    from hicray.evaluation.tables import identify, refuse_other, write

    maps = resolve(options)
    identity = identify(maps)
    refuse_other(options.out, identity)
    say(write(run(open_compared(maps)), options.out, identity), f"written: {options.out}")


def baselines(options: Baselines) -> None:
    """Write what a model has to beat as maps: upsampled, filters, by distance, half reads."""
    from hicray.evaluation.baseline_plan import commands, make_baselines, resolve

    plan = resolve(options)
    made = make_baselines(plan, options.out)
    say(*(f"{name}: {path}" for name, path in made.items()), *commands(plan, options.out))
