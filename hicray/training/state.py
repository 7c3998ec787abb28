"""Whether Ray Tune's state of a search is whole.

Tune writes its files in place and one after another: a kill or a full disk cuts them, and a Tuner
restored from such a folder fails, or waits for trials that nobody runs. Checkpoints are not part
of it, so a search whose state is lost begins anew and its trials go on.
"""

import json
import pickle
from typing import Any

from ray.tune.execution.tune_controller import TuneController
from ray.tune.search.basic_variant import BasicVariantGenerator
from ray.tune.search.search_generator import SearchGenerator
from ray.tune.search.searcher import Searcher

from hicray.storage import Location, matching

_TUNER = "tuner.pkl"
_TRIALS = TuneController.CKPT_FILE_TMPL
_GRID = (BasicVariantGenerator.CKPT_FILE_TMPL,)
_SEARCHER = (SearchGenerator.CKPT_FILE_TMPL, Searcher.CKPT_FILE_TMPL)


def damage(folder: Location) -> str:
    """Return what is wrong with a search's state; empty where it is whole, or has not begun."""
    if not (folder / _TUNER).is_file():
        return ""
    chosen = _GRID if _newest(folder, _GRID[0]) else _SEARCHER
    for kind in (_TUNER, _TRIALS, *chosen):
        if (file := _newest(folder, kind)) is None:
            return f"it has no {kind.format('*')}"
        try:
            _read(file, kind)
        except (EOFError, LookupError, ValueError, pickle.UnpicklingError):
            return f"{file.name} is cut short"
    return ""


def _newest(folder: Location, kind: str) -> Location | None:
    # Each run of the command adds files under its time; Tune reads the last.
    return max(matching(folder, kind.format("*")), default=None)


def _read(file: Location, kind: str) -> Any:
    content = file.read_bytes()
    return json.loads(content)["trial_data"][0] if kind == _TRIALS else pickle.loads(content)
