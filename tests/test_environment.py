"""What importing MLflow through hicray settles before MLflow reads it."""

import os
import subprocess
import sys

import pytest

ROOMS = ("tracking.track", "tracking.logged", "tracking.stores", "training.record")


@pytest.mark.parametrize("module", ROOMS)
def test_whoever_imports_mlflow_has_its_telemetry_and_repeats_off(module):
    code = (
        f"import hicray.{module}, os; "
        "print(os.environ['MLFLOW_DISABLE_TELEMETRY'], "
        "os.environ['MLFLOW_HTTP_REQUEST_MAX_RETRIES'])"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["true", "0"]
