"""AdamW that also keeps a running mean of the weights it makes.

Steps on few windows go back and forth; the mean of the last ones scores higher on windows that
were not trained on, and needs no schedule that cools before anyone knows when to stop.
"""

from collections.abc import Callable
from typing import Any

import torch

AVERAGED_STEPS = 50
"""The mean reaches back over about so many steps, over a ninth of them at a run's start."""
_OTHER, _SHOWN = "other", "mean_shown"


class AveragedAdamW(torch.optim.AdamW):
    """AdamW between whose weights and their mean ``train`` and ``eval`` switch in place.

    Whichever of the two the parameters do not hold lies in the optimizer's state, and is saved and
    loaded with it. Steps are made in train mode; the mode itself is a part of the state as well.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move the weights, then their mean towards them.

        Raises:
            RuntimeError: The parameters hold the mean.
        """
        if any(group.get(_SHOWN) for group in self.param_groups):
            raise RuntimeError("the parameters hold the mean of the weights; call train() first")
        result: float | None = super().step(closure)
        for group in self.param_groups:
            steps = group["steps"] = group.get("steps", 0) + 1
            # 1 at the first step: the mean begins as the weights that it makes.
            share = max(1 / AVERAGED_STEPS, 9 / (steps + 8))
            for parameter, state in self._states(group):
                if _OTHER not in state:
                    state[_OTHER] = parameter.clone()
                state[_OTHER].lerp_(parameter, share)
        return result

    def train(self) -> None:
        """Let the parameters hold the weights that steps move."""
        self._show(mean=False)

    def eval(self) -> None:
        """Let the parameters hold the mean: what is scored, kept and used."""
        self._show(mean=True)

    @torch.no_grad()
    def _show(self, *, mean: bool) -> None:
        for group in self.param_groups:
            if bool(group.get(_SHOWN)) != mean:
                for parameter, state in self._states(group):
                    # In place, as the network and its wrapper for several workers hold these
                    # tensors.
                    held = parameter.clone()
                    parameter.copy_(state.get(_OTHER, parameter))
                    state[_OTHER] = held
            group[_SHOWN] = mean

    def _states(self, group: dict[str, Any]) -> list[tuple[torch.Tensor, dict[str, Any]]]:
        """Return the parameters of a group that ever moved, with their state."""
        return [
            (parameter, self.state[parameter])
            for parameter in group["params"]
            if self.state.get(parameter)
        ]
