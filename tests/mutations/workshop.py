"""Run tests in copies of the package, each in a process of its own; libraries are imported once.

One JSON line in, ``{"folder": ..., "tests": [...]}``, one out: pytest's exit code, how each test
ended, and the end of what it printed.
"""

import importlib
import json
import os
import sys
from pathlib import Path

LIBRARIES = (
    "cooler", "cooltools", "hictkpy", "hypothesis", "optuna", "pytorch_msssim", "ray.data",
    "ray.train.torch", "ray.tune", "timm", "torch",
)  # fmt: skip
ENDS = "ends.json"
SHOWN = 3_000
"""Characters of a log."""


class Ends:
    """How each test ended: passed, skipped, failed by assertion, or by another error."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}

    def pytest_runtest_makereport(self, item, call) -> None:
        """Keep the first thing that is not a pass; a test has a set-up and an end too."""
        if call.excinfo is not None:
            kind = call.excinfo.type.__name__
            asserted = kind in ("AssertionError", "Failed") and call.when == "call"
            self.of.setdefault(item.nodeid, "failed" if asserted else kind)
        elif call.when == "teardown":
            self.of.setdefault(item.nodeid, "passed")


def run(folder: Path, tests: list[str]) -> dict[str, object]:
    """Fork, and run tests there from a folder."""
    log = folder / "log.txt"
    child = os.fork()
    if not child:
        _run_here(folder, tests, log)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    ends = folder / ENDS
    return {
        "code": code,
        "ends": json.loads(ends.read_text()) if ends.exists() else {},
        "log": log.read_text()[-SHOWN:],
    }


def _run_here(folder: Path, tests: list[str], log: Path) -> None:
    import pytest

    code = 70
    try:
        with log.open("w") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        ends = Ends()
        code = pytest.main(["-q", "-p", "no:cacheprovider", *tests], plugins=[ends])
        (folder / ENDS).write_text(json.dumps(ends.of))
    finally:
        sys.stdout.flush()
        os._exit(code)


def main() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for name in LIBRARIES:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        answer = run(Path(request["folder"]), request["tests"])
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
