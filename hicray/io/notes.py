"""Notes in folders: JSON that says what was made there, and for which job."""

import json
from typing import Any

import numpy as np

from hicray.config import UserError
from hicray.io.storage import Location, replaced


def write_json(location: Location, value: Any) -> None:
    """Write JSON so that a reader never sees half a file."""
    with replaced(location) as path:
        path.write_text(json.dumps(value, indent=1, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def refuse_others(
    note: Location, digest: str, *, key: str = "digest", problem: str, differs: str, option: str
) -> bool:
    """Refuse a folder whose note was written by another job.

    Args:
        note: The folder's note, a JSON object; a folder without one is anybody's.
        digest: Of this job.
        key: Where the note keeps its job's digest.
        problem: What is wrong with the folder, e.g. 'holds other baselines'.
        differs: In what such jobs may differ.
        option: How a user gives another folder.

    Returns:
        Whether the folder has a note.

    Raises:
        UserError: The note has another digest.
    """
    if not note.exists():
        return False
    noted = json.loads(note.read_text()).get(key)
    if noted != digest:
        raise UserError(
            f"{note.parent} {problem} ({noted}, this is {digest}: {differs}); give another {option}"
        )
    return True
