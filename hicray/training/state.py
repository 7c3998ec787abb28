"""Whether Ray Tune's state of a cell is whole, and whether the cell has ended.

Tune writes its files in place and one after another: a kill or a full disk cuts them, or leaves
trials that the searcher has not suggested, and a Tuner restored from such a folder fails, waits
for trials that nobody runs, or trains one twice. Checkpoints are not part of it, so a search whose
state is lost begins anew and its trials go on.

A cell that has ended is told by a note of ours: reading Tune's state takes a Tuner, windows, Ray.
"""

import json
import pickle
from collections.abc import Mapping
from typing import Any

from ray.tune.execution.tune_controller import TuneController
from ray.tune.search.basic_variant import BasicVariantGenerator
from ray.tune.search.search_generator import SearchGenerator
from ray.tune.search.searcher import Searcher

from hicray.io.notes import write_json
from hicray.io.storage import Location, matching

ENDED = "ended.json"
_TUNER = "tuner.pkl"
_TRIALS = TuneController.CKPT_FILE_TMPL
_GRID = (BasicVariantGenerator.CKPT_FILE_TMPL,)
_SEARCHER = (SearchGenerator.CKPT_FILE_TMPL, Searcher.CKPT_FILE_TMPL)


def damage(folder: Location) -> str:
    """Return what is wrong with a search's state; empty where it is whole, or has not begun."""
    if not (folder / _TUNER).is_file():
        return ""
    kinds = _GRID if _newest(folder, _GRID[0]) else _SEARCHER
    counts: dict[str, int] = {}
    for kind in (_TUNER, _TRIALS, *kinds):
        if (file := _newest(folder, kind)) is None:
            return f"it has no {kind.format('*')}"
        try:
            counts[kind] = _count(file, kind)
        except (EOFError, LookupError, ValueError, pickle.UnpicklingError):
            return f"{file.name} is cut short"
    suggested = counts.get(SearchGenerator.CKPT_FILE_TMPL, counts[_TRIALS])
    if counts[_TRIALS] != suggested:
        return f"it has {counts[_TRIALS]} trials where {suggested} were suggested"
    return ""


def note_end(folder: Location, trials: Mapping[str, str]) -> None:
    """Note that a Tuner has ended all its trials.

    Args:
        folder: Of its state.
        trials: How each ended (FINISHED or FAILED), by the trial's name.
    """
    write_json(folder / ENDED, trials)


def ended(folder: Location) -> dict[str, str]:
    """Return how the trials of a Tuner ended, by name; empty where it has not ended them all."""
    note = folder / ENDED
    trials: dict[str, str] = json.loads(note.read_text()) if note.is_file() else {}
    return trials


def _newest(folder: Location, kind: str) -> Location | None:
    # Each run of the command adds files under its time; Tune reads the last.
    return max(matching(folder, kind.format("*")), default=None)


def _count(file: Location, kind: str) -> int:
    """Return how many trials a file knows of, 0 where it does not count them."""
    content = file.read_bytes()
    if kind == _TRIALS:
        trials: list[Any] = json.loads(content)["trial_data"]
        return len(trials) if trials[0] else 0
    # No more is trusted than by Tune, which unpickles this file when it restores a search.
    state = pickle.loads(content)
    return int(state["counter"]) if kind == SearchGenerator.CKPT_FILE_TMPL else 0
