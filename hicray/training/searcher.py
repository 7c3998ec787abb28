"""Optuna on a finite space, of which it never suggests a configuration twice.

A configuration that ran would only be reported again, and one that runs would be trained by two
drivers in one folder; either way its arm would have got fewer tries than were asked for.
"""

import itertools
import random
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.samplers import TPESampler
from optuna.trial import TrialState
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.searcher import Searcher

optuna.logging.set_verbosity(optuna.logging.WARNING)
ASKS = 20
"""How often Optuna is asked again before one of the untried configurations is drawn."""

Chosen = dict[str, Any]
"""A configuration's choices, by dotted name."""


class DistinctSearch(OptunaSearch):  # type: ignore[misc]  # Ray is untyped
    """Suggests configurations that were not suggested before, until there are none.

    What it knows lies in its attributes, which Tune pickles with the search's state and restores.

    Args:
        seed: Of the searcher.
        first: Configurations to try first.
    """

    def __init__(self, seed: int, first: Sequence[Chosen]) -> None:
        # constant_liar: trials that still run count as bad ones, so that none is proposed beside
        # them.
        sampler = TPESampler(seed=seed, multivariate=True, constant_liar=True)
        super().__init__(sampler=sampler, points_to_evaluate=list(first))
        self._taken: set[tuple[Any, ...]] = set()
        self._random = random.Random(seed)

    def suggest(self, trial_id: str) -> Chosen | str:
        """Return the choices of a new trial; Tune's word for 'finished' where all were tried."""
        for _ in range(ASKS):
            chosen: Chosen = super().suggest(trial_id)
            if self._take(chosen):
                return chosen
            self._withdraw(trial_id)
        untried = [
            candidate for candidate in self._all() if self._key(candidate) not in self._taken
        ]
        if not untried:
            return str(Searcher.FINISHED)
        # Through Optuna, which learns from its score as from any other's.
        self._ot_study.enqueue_trial(self._random.choice(untried))
        chosen = super().suggest(trial_id)
        self._take(chosen)
        return chosen

    def _take(self, chosen: Chosen) -> bool:
        """Return whether a configuration is new, and remember it."""
        key = self._key(chosen)
        new = key not in self._taken
        self._taken.add(key)
        return new

    def _withdraw(self, trial_id: str) -> None:
        """Tell Optuna that a trial was none: what failed is no sample, and holds no place."""
        self._ot_study.tell(self._ot_trials.pop(trial_id), state=TrialState.FAIL)

    def _all(self) -> list[Chosen]:
        choices = [axis.choices for axis in self._space.values()]
        return [
            dict(zip(self._space, values, strict=True)) for values in itertools.product(*choices)
        ]

    def _key(self, chosen: Chosen) -> tuple[Any, ...]:
        return tuple(chosen[name] for name in self._space)
