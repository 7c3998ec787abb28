"""ASHA, which stops trials that rivals left behind; an epoch without a score decides nothing."""

import math
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler

from hicray.metrics.objective import VAL_OBJECTIVE


class Halving(ASHAScheduler):  # type: ignore[misc]  # Ray is untyped
    """Judges a trial whose O/E Pearson is undefined by its next epoch that has one."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Return whether a trial goes on."""
        return str(super().on_trial_result(tune_controller, trial, _defined(result)))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Take a trial's last score for those that follow."""
        super().on_trial_complete(tune_controller, trial, _defined(result))


def _defined(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result, or one without anything that ASHA would judge."""
    return result if math.isfinite(result.get(VAL_OBJECTIVE, math.nan)) else {}
