"""A shard set's folder belongs to one plan."""

from dataclasses import replace

from hicray.config import DataConfig, digest
from hicray.io.copies import fingerprint
from hicray.io.notes import refuse_others, write_json
from hicray.io.storage import Location
from hicray.windows.manifest import PLAN, SCHEMA_VERSION
from hicray.windows.sources import source_names

ROWS_PER_SHARD = 256


def plan_digest(config: DataConfig) -> str:
    """Return the identity of a shard set: its settings and its files' contents, not their paths."""
    prints = [fingerprint(uri) for uri in (*config.contacts, config.genome) if uri]
    groups = [uri.partition("::")[2].strip("/") for uri in config.contacts]
    settings = replace(config, contacts=tuple(source_names(config.contacts)), genome="")
    return digest([digest(settings), groups, prints, SCHEMA_VERSION, ROWS_PER_SHARD])


def refuse_other_plan(folder: Location, plan: str) -> None:
    """Refuse a folder that belongs to another plan.

    Raises:
        UserError: It does.
    """
    refuse_others(
        folder / PLAN,
        plan,
        key="plan",
        problem="belongs to another plan",
        differs="other maps, genome or window settings",
        option="--storage folder",
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
