"""hicray: sharpen Hi-C and micro-C contact maps, and find out whether DNA sequence helps.

The names below come from ``hicray.api``, which is imported when the first of them is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hicray.api import (
        ContactMap,
        Genome,
        UserError,
        ablate,
        compare,
        enhance,
        evaluate,
        load_model,
        open_map,
        prepare,
        search,
        simulate,
    )

__version__ = "0.1.0"
__all__ = [
    "ContactMap",
    "Genome",
    "UserError",
    "ablate",
    "compare",
    "enhance",
    "evaluate",
    "load_model",
    "open_map",
    "prepare",
    "search",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'hicray' has no attribute {name!r}")
    from hicray import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
