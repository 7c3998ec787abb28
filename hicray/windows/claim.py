"""Whose folder is this? A shard set belongs to one plan, and says so before any work."""

import json
from dataclasses import replace

from hicray.config import DataConfig, UserError, digest
from hicray.storage import Location
from hicray.windows.manifest import PLAN, SCHEMA_VERSION, write_json
from hicray.windows.sources import fingerprint, source_names

ROWS_PER_SHARD = 256


def plan_digest(config: DataConfig) -> str:
    """Return the identity of a shard set: its settings and its files' contents, not their paths."""
    prints = [fingerprint(uri) for uri in (*config.contacts, config.genome)]
    groups = [uri.partition("::")[2].strip("/") for uri in config.contacts]
    settings = replace(config, contacts=tuple(source_names(config.contacts)), genome="")
    return digest([digest(settings), groups, prints, SCHEMA_VERSION, ROWS_PER_SHARD])


def refuse_other_plan(folder: Location, plan: str) -> None:
    """Refuse a folder that belongs to another plan.

    Raises:
        UserError: It does.
    """
    note = folder / PLAN
    if note.exists() and (there := json.loads(note.read_text())["plan"]) != plan:
        raise UserError(
            f"{folder} belongs to another plan ({there}, this is {plan}: other maps, genome or "
            "window settings); give another --storage folder"
        )


def claim(folder: Location, config: DataConfig) -> str:
    """Make a folder one's own, and return the plan's digest.

    Raises:
        UserError: The folder belongs to another plan.
    """
    plan = plan_digest(config)
    refuse_other_plan(folder, plan)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {name: str(value) for name, value in vars(config).items()}
    write_json(folder / PLAN, {"plan": plan, "config": settings})
    return plan
