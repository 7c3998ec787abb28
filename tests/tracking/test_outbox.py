"""Records on their way to MLflow: in order, never twice, never in anybody's way."""

import logging
import threading
import time
from functools import partial

import pytest

from hicray.config import UserError
from hicray.tracking import outbox as sending
from hicray.tracking.outbox import Outbox
from hicray.tracking.stores import default_uri
from hicray.tracking.track import TRIAL, Store


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    return Store(default_uri(folder), folder / "artifacts")


@pytest.fixture
def hurried(monkeypatch):
    for name in ("PAUSE", "LONGEST_PAUSE"):
        monkeypatch.setattr(sending, name, 0.05)


@pytest.fixture
def away(tmp_path, hurried, monkeypatch) -> Store:
    """A store where nobody listens, of which an outbox despairs soon."""
    monkeypatch.setattr(sending, "PATIENCE", 1.5)
    return Store("http://127.0.0.1:9", tmp_path)


class Flaky:
    """A record that fails a number of times before it is taken."""

    def __init__(self, failures: int, taken: list[int], name: int) -> None:
        self.failures, self.taken, self.name = failures, taken, name

    def __call__(self) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("connection reset")
        self.taken.append(self.name)


def test_records_arrive_in_order_from_another_thread(store):
    taken: list[tuple[int, str]] = []
    with Outbox(store) as outbox:
        for i in range(20):
            outbox.put(lambda i=i: taken.append((i, threading.current_thread().name)))
    assert taken == [(i, "outbox") for i in range(20)]


def test_a_record_that_fails_is_sent_again_before_those_behind_it(store, hurried):
    taken: list[int] = []
    with Outbox(store) as outbox:
        for name, failures in enumerate((0, 3, 0)):
            outbox.put(Flaky(failures, taken, name))
    assert taken == [0, 1, 2]
    assert outbox.refused == 0


def test_a_record_that_the_store_refuses_is_counted_and_said(store, hurried, caplog):
    run = store.find_or_start(TRIAL, "refused", {"depth": 1}, {})
    with Outbox(store) as outbox:
        outbox.put(partial(store.log, "no-such-run", {"loss": 1.0}, 1))
        outbox.put(partial(store.log, run, {"loss": 1.0}, 1))
    assert outbox.refused == 1
    assert "refused a record (1 so far)" in caplog.text
    assert store.curve(run, "loss") == [1.0]


def test_nobody_waits_for_a_store_that_is_away_and_the_loss_is_said(away, caplog):
    spent: list[float] = []
    outbox = Outbox(away)
    began = time.monotonic()
    with pytest.raises(UserError, match=r"2 records did not reach http.*the same command again"):
        put_two(outbox, away, spent)
    assert spent[0] < 0.2
    assert time.monotonic() - began < 10
    assert [r.levelno for r in caplog.records if "is away" in r.message] == [logging.WARNING]


def put_two(outbox: Outbox, store: Store, spent: list[float]) -> None:
    began = time.monotonic()
    with outbox:
        for epoch in (1, 2):
            outbox.put(partial(store.log, "run", {"loss": 1.0}, epoch))
        spent.append(time.monotonic() - began)


def interrupted(store: Store) -> None:
    with Outbox(store) as outbox:
        outbox.put(partial(store.log, "run", {"loss": 1.0}, 1))
        raise KeyboardInterrupt


def test_a_store_that_answers_may_take_its_time(store, monkeypatch):
    """A large model takes longer than an outage may."""
    monkeypatch.setattr(sending, "PATIENCE", 0.1)
    taken: list[int] = []
    with Outbox(store) as outbox:
        outbox.put(partial(time.sleep, 1.0))
        outbox.put(Flaky(0, taken, 1))
    assert taken == [1]


def test_who_interrupts_does_not_wait(away, monkeypatch):
    monkeypatch.setattr(sending, "PATIENCE", 60.0)
    monkeypatch.setattr(sending, "FAILED_PATIENCE", 0.5)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted(away)
    assert time.monotonic() - began < 5


def test_the_same_epoch_of_the_same_time_is_kept_once(store):
    run = store.find_or_start(TRIAL, "twice", {}, {})
    for _ in range(2):
        store.log(run, {"loss": 0.5}, 1, at=1_700_000_000_000)
    assert store.curve(run, "loss") == [0.5]


def test_a_start_that_was_cut_short_is_found_and_finished(store):
    tags = {"mlflow.parentRunId": "parent"}
    experiment = store.experiment()
    cut = store.client.create_run(experiment, tags={TRIAL: "cut", **tags})
    late = store.client.create_run(experiment, tags={TRIAL: "cut", **tags})
    run = store.find_or_start(TRIAL, "cut", {"depth": 3}, tags)
    assert run == cut.info.run_id
    assert store.run(run).params == {"depth": "3"}
    assert [found.run_id for found in store.trials("parent")] == [run]
    assert store.client.get_run(late.info.run_id).info.lifecycle_stage == "deleted"
