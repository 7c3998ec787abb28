"""A real MLflow server that is killed, slow, or gone: training does not wait, nothing is lost."""

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import mlflow.pytorch
import pytest
import requests

from hicray.simulation.simulate import Simulation
from hicray.tracking.stores import use
from hicray.tracking.track import Store, TrialRun
from tests.faults.processes import (
    TRAIN,
    Command,
    data_options,
    free_port,
    hicray,
    kept_as_they_are,
    run,
)

pytestmark = pytest.mark.slow
EPOCHS = 6
AWAY = 30.0
"""Seconds of an outage."""
DELAY = 2.0
"""Seconds of a slow answer."""


class Server:
    """An MLflow server that can be killed and started again where it was."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        options = {
            "--host": "127.0.0.1",
            "--port": self.port,
            "--workers": 1,
            "--backend-store-uri": f"sqlite:///{self.folder}/server.db",
            "--artifacts-destination": self.folder / "artifacts",
        }
        words = [str(word) for pair in options.items() for word in pair]
        self.command = Command(
            [sys.executable, "-m", "mlflow", "server", *words],
            self.folder / "server.log",
            MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        )
        self.command.wait_for(self.answers)

    def answers(self) -> bool:
        try:
            return requests.get(f"{self.uri}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def kill(self) -> None:
        self.command.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def storage(tiny_simulation: Simulation, tmp_path_factory) -> Path:
    """A folder whose shards are there, which all runs share."""
    folder = tmp_path_factory.mktemp("runs")
    words = ["prepare", *data_options(tiny_simulation), "--storage", folder / "storage"]
    run(hicray(*words), folder / "log")
    return folder / "storage"


def train(
    simulation: Simulation, storage: Path, uri: str, seed: int, before: str = ""
) -> list[str]:
    """Return the command line of one noseq run; its seed makes it another one."""
    own = ["--storage", storage, "--tracking-uri", uri, "--seed", seed, "--epochs", EPOCHS]
    words = [*data_options(simulation), *TRAIN, *own, "--sequence", "off"]
    return hicray("train", *words, before=before)


class Watched:
    """The checkpoints of the run of one seed."""

    def __init__(self, storage: Path, seed: int) -> None:
        self.storage, self.seed = storage, seed

    def notes(self) -> list[Path]:
        found = sorted(self.storage.glob("trials/*/checkpoint_*/trial.json"))
        return [path for path in found if self._own(path)]

    def _own(self, path: Path) -> bool:
        return bool(_read(path).get("trial", {}).get("train", {}).get("seed") == self.seed)

    def history(self) -> list[dict[str, float]]:
        histories = [_read(path).get("history", []) for path in self.notes()]
        return max(histories, key=len, default=[])

    def begun(self) -> bool:
        return len(self.history()) >= 1

    def done(self) -> bool:
        return len(self.history()) == EPOCHS


def _read(path: Path) -> dict:
    """Return a note, or nothing while it is being written or taken away."""
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}


def recorded(uri: str, storage: Path, seed: int) -> tuple[Store, TrialRun]:
    """Return the only run of a seed, in the only search that holds one."""
    store = Store(uri, storage / "artifacts")
    searches = store.client.search_runs([store.experiment()], "tags.`hicray.search` LIKE '%'")
    own = [one for one in searches if one.data.params["train.seed"] == str(seed)]
    assert [one.info.status for one in own] == ["FINISHED"]
    (trial,) = store.trials(own[0].info.run_id)
    return store, trial


def check_complete(uri: str, storage: Path, watched: Watched) -> None:
    """Check that a run's records are all there, once."""
    store, trial = recorded(uri, storage, watched.seed)
    assert store.client.get_run(trial.run_id).info.status == "FINISHED"
    history = watched.history()
    for name in ("train_loss", "val_loss", "val_oe_pearson"):
        points = store.client.get_metric_history(trial.run_id, name)
        assert [point.step for point in points] == list(range(1, EPOCHS + 1))
        assert [point.value for point in points] == [epoch[name] for epoch in history]
    (best,) = store.client.get_metric_history(trial.run_id, "best_val_oe_pearson")
    assert best.value == max(epoch["val_oe_pearson"] for epoch in history)
    names = {item.path for item in store.client.list_artifacts(trial.run_id)}
    assert {"loss_curves.png", "maps.png"} <= names
    use(uri)
    assert callable(mlflow.pytorch.load_model(trial.tags["model"]))
    (model,) = store.client.search_logged_models(
        [store.experiment()], f"source_run_id = '{trial.run_id}'"
    )
    assert trial.tags["model"] == model.model_uri


def test_training_does_not_wait_for_a_server_that_is_away(
    server, storage, tiny_simulation, tmp_path
):
    watched = Watched(storage, seed=1)
    with Command(train(tiny_simulation, storage, server.uri, 1), tmp_path / "log") as command:
        command.wait_for(watched.begun)
        server.kill()
        killed = time.monotonic()
        command.wait_for(lambda: time.monotonic() - killed > AWAY)
        assert watched.done()
        server.start()
        said = command.end()
        assert command.left() == []
    assert "MLflow is away, records are kept until it answers" in said
    assert "MLflow answers again" in said
    check_complete(server.uri, storage, watched)


class SlowProxy:
    """Hands bytes through to a server, and keeps every answer back for a while."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
                asked = threading.Event()
                for pump in (
                    partial(_ask, client, server, asked),
                    partial(_answer, server, client, asked),
                ):
                    threading.Thread(target=pump, daemon=True).start()

    def close(self) -> None:
        self.listener.close()


def _ask(client: socket.socket, server: socket.socket, asked: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := client.recv(1 << 20):
            asked.set()
            server.sendall(data)
        server.shutdown(socket.SHUT_RDWR)


def _answer(server: socket.socket, client: socket.socket, asked: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := server.recv(1 << 20):
            if asked.is_set():  # an answer comes in several pieces
                asked.clear()
                time.sleep(DELAY)
            client.sendall(data)
        client.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def slow(server) -> Iterator[SlowProxy]:
    proxy = SlowProxy(server.port)
    yield proxy
    proxy.close()


def test_slow_answers_do_not_slow_training(server, slow, storage, tiny_simulation, tmp_path):
    watched = Watched(storage, seed=2)
    with Command(train(tiny_simulation, storage, slow.uri, 2), tmp_path / "log") as command:
        command.end()
        assert command.left() == []
    check_complete(server.uri, storage, watched)
    store, trial = recorded(server.uri, storage, 2)
    # When the driver heard of an epoch; one that waited for the store would hear of it late.
    heard = [m.timestamp / 1000 for m in store.client.get_metric_history(trial.run_id, "val_loss")]
    trained = sum(epoch["seconds"] for epoch in watched.history()[1:])
    assert heard[-1] - heard[0] < trained + 0.5 * DELAY * (EPOCHS - 1)


def test_a_server_that_never_comes_back_is_said_and_the_same_command_catches_up(
    server, storage, tiny_simulation, tmp_path
):
    watched = Watched(storage, seed=3)
    hurry = "from hicray.tracking import outbox; outbox.PATIENCE = 5.0"
    words = train(tiny_simulation, storage, server.uri, 3, before=hurry)
    with Command(words, tmp_path / "log") as command:
        command.wait_for(watched.begun)
        server.kill()
        said = command.end(code=2)
        assert command.left() == []
    assert watched.done()
    assert said.splitlines()[-1].startswith("hicray: ")
    assert f"records did not reach {server.uri}" in said.splitlines()[-1]
    assert "run the same command again" in said.splitlines()[-1]
    server.start()
    with kept_as_they_are(watched.notes()):
        run(words, tmp_path / "again")
    check_complete(server.uri, storage, watched)
    run(words, tmp_path / "once more")
    check_complete(server.uri, storage, watched)
