"""One window of the published sizes on a CPU: how long it takes, and how much memory."""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from hicray.dna_models.borzoi import Borzoi
from hicray.dna_models.enformer import Enformer

NETWORKS = {"enformer": Enformer, "borzoi": Borzoi}
SHAPES = {"enformer": [1, 896, 3072], "borzoi": [1, 6144, 1920]}
MOST_MEMORY_GIB = 6


def main(name: str) -> None:
    torch.set_num_threads(1)  # as in all tests: threads that wait for each other burn the CPU
    torch.manual_seed(0)
    network = NETWORKS[name]().requires_grad_(False)
    codes = torch.randint(5, (1, network.window), dtype=torch.uint8)
    began = time.monotonic()
    known = network(codes)
    measured = {
        "shape": list(known.shape),
        "finite": bool(known.isfinite().all()),
        "spread": known.std().item(),
        "seconds": round(time.monotonic() - began, 1),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    print(json.dumps(measured))  # noqa: T201  # read by the test


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_window_of_full_size_takes_little_memory(name):
    """In a process of its own; the peak includes that of this one, if this one's is higher."""
    call = [sys.executable, "-m", "tests.dna_models.test_full_size", name]
    root = Path(__file__).parents[2]
    done = subprocess.run(call, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    print(measured)  # noqa: T201  # shown by pytest -rP
    assert measured["shape"] == SHAPES[name]
    assert measured["finite"]
    assert measured["spread"] > 0
    assert measured["peak_gib"] < MOST_MEMORY_GIB


if __name__ == "__main__":
    main(sys.argv[1])
