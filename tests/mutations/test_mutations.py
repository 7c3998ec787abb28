"""Every mistake on the list must be noticed by the tests it names, or these prove little."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mutations import workshop
from tests.mutations.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
LEFT_OUT = shutil.ignore_patterns("__pycache__", "golden")


class Workshop:
    """Runs tests in copies of the package, in processes that share their libraries' imports."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ends(self, folder: Path, tests: tuple[str, ...]) -> dict[str, str]:
        """Return how each test ended; those of one function are one, by its worst end.

        Raises:
            AssertionError: pytest could not run them.
        """
        request = {"folder": str(folder), "tests": [f"tests/{test}" for test in tests]}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert answer["code"] in (0, 1), f"pytest ended with {answer['code']}\n{answer['log']}"
        return {
            test: "passed" if set(own) == {"passed"} else next(e for e in own if e != "passed")
            for test in tests
            if (own := [e for name, e in answer["ends"].items() if _is(name, f"tests/{test}")])
        }


def _is(name: str, test: str) -> bool:
    return name == test or name.startswith(f"{test}[")


@pytest.fixture(scope="module")
def bench() -> Iterator[Workshop]:
    """Start the process that all others are forked from."""
    words, pipe = [sys.executable, workshop.__file__], subprocess.PIPE
    with subprocess.Popen(
        words, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, start_new_session=True
    ) as process:
        yield Workshop(process)
        os.killpg(process.pid, signal.SIGKILL)  # and what it forked, should that hang


def copied(folder: Path) -> Path:
    """Copy the package and its tests."""
    for part in ("hicray", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=LEFT_OUT)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def mistaken(mutant: Mutant) -> str:
    """Return a file of the package with one mistake.

    Raises:
        AssertionError: What it replaces is not there, or not once.
    """
    code = (ROOT / "hicray" / mutant.file).read_text()
    found = code.count(mutant.old)
    assert found == 1, (
        f"the mutant is out of date: {mutant.old!r} occurs {found} times in hicray/{mutant.file}; "
        "say in tests/mutations/mutants.py what the code says now"
    )
    return code.replace(mutant.old, mutant.new)


every_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)


@every_mutant
def test_a_mistake_is_one_in_todays_code(mutant):
    compile(mistaken(mutant), mutant.file, "exec")


def test_a_mutant_that_is_out_of_date_says_so():
    with pytest.raises(AssertionError, match=r"out of date: 'not there' occurs 0 times in hicray/"):
        mistaken(MUTANTS[0]._replace(old="not there"))


@pytest.mark.slow
def test_without_a_mistake_all_of_them_pass(bench, tmp_path):
    tests = tuple(dict.fromkeys(test for mutant in MUTANTS for test in mutant.tests))
    assert bench.ends(copied(tmp_path), tests) == dict.fromkeys(tests, "passed")


@pytest.mark.slow
@every_mutant
def test_a_mistake_is_noticed(bench, tmp_path, mutant):
    (copied(tmp_path) / "hicray" / mutant.file).write_text(mistaken(mutant))
    assert bench.ends(tmp_path, mutant.tests) == dict.fromkeys(mutant.tests, "failed")
