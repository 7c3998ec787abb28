"""Folders and servers of odd names, with the real programs; printed lines run in a fresh shell."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from hicray.config import UserError
from hicray.tracking.track import Store
from tests.faults.processes import TRAIN, Command, data_options, free_port, hicray, run

pytestmark = pytest.mark.slow
ODD = "a b%20c?d#e|f'g@h"
SERVED = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def answers(uri: str, host: str | None = None) -> int:
    """Return the status of a server's page; 0 while nobody listens."""
    try:
        headers = {"Host": host} if host else None
        return requests.get(uri, headers=headers, timeout=5).status_code
    except requests.RequestException:
        return 0


def test_a_search_in_a_folder_of_an_odd_name(tiny_simulation, tmp_path):
    folder = tmp_path / ODD
    folder.mkdir()
    own = dict(zip(*[iter(data_options(tiny_simulation))] * 2, strict=True))
    for option in ("--contacts", "--genome"):
        there = Path(own[option])
        (folder / there.name).write_bytes(there.read_bytes())
        own[option] = str(folder / there.name)
    options = [word for pair in own.items() for word in pair]
    storage = folder / "storage"
    words = ["train", *options, *TRAIN, "--sequence", "off", "--epochs", 1, "--storage", storage]
    said = run(hicray(*words), tmp_path / "log")
    assert "\r" not in said
    said = run(hicray("compare", "--storage", storage), tmp_path / "log")
    assert (storage / "report" / "compare.html").is_file()
    assert list(storage.glob("artifacts/*/artifacts/compare.md"))
    (model,) = storage.glob("artifacts/models/*")
    network = ["--checkpoint", f"models:/{model.name}", "--tracking-uri"]
    line = said.splitlines()[-1]
    enhanced = [
        *network,
        shlex.split(line)[-1],
        "--contacts",
        own["--contacts"],
        "--chroms",
        "chr6",
    ]
    run(hicray("enhance", *enhanced, "--out", folder / "out.mcool"), tmp_path / "log")
    assert (folder / "out.mcool").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {ODD, "log"}
    port = free_port()
    shell = [
        "env",
        "-i",
        "sh",
        "-c",
        f"cd /; exec {line} --workers 1 --host 127.0.0.1 --port {port}",
    ]
    with Command(shell, tmp_path / "ui.log", **SERVED) as command:
        command.wait_for(lambda: answers(f"http://127.0.0.1:{port}/health") == 200)


def test_a_server_that_others_call_by_a_name_has_to_allow_it(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
    (allowed,) = re.findall(r"mlflow server .*--allowed-hosts (\S+?)`", text)
    assert f"http://{allowed}" in text.partition("KubeRay")[2]
    port = free_port()
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    words += ["--workers", "1", "--backend-store-uri", f"sqlite:///{tmp_path}/server.db"]
    words += ["--allowed-hosts", allowed]
    uri = f"http://127.0.0.1:{port}"
    with Command(words, tmp_path / "log", **SERVED) as command:
        command.wait_for(lambda: answers(f"{uri}/health") == 200)
        api = f"{uri}/api/2.0/mlflow/experiments/search?max_results=1"
        assert answers(api, allowed) == 200
        with pytest.raises(UserError) as refused:
            Store(uri, tmp_path).experiment()
    assert f"start that server with --allowed-hosts 127.0.0.1:{port}" in str(refused.value)


def test_printed_lines_of_baselines_run_anywhere(tiny_simulation, tmp_path):
    folder = tmp_path / ODD
    folder.mkdir()
    contacts = folder / "map.mcool"
    contacts.write_bytes(tiny_simulation.contacts[0].read_bytes())
    options = {"--contacts": contacts, "--fine-bin-size": 128, "--coarse-bin-size": 512}
    options |= {"--split": "val=chr5;test=chr6", "--window-bins": 64, "--out": folder / "made"}
    words = [word for pair in options.items() for word in pair]
    said = run(hicray("baselines", *words), tmp_path / "log")
    lines = [line for line in said.splitlines() if "hicray evaluate" in line]
    assert len(lines) == 2
    own = {"PYTHONPATH": str(Path(__file__).parents[2]), "HOME": os.environ["HOME"]}
    for line in lines:
        subprocess.run(["sh", "-c", line], cwd="/", env=own, check=True, capture_output=True)
    assert (folder / "made" / "scores" / "evaluate.md").is_file()
    assert (folder / "made" / "half_read_scores" / "evaluate.md").is_file()
