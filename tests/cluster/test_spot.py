"""What the spot watcher makes of the metadata service's answers; test_ray_up has the whole way."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from hicray.cluster import spot
from tests.buckets import free_port
from tests.cluster.metadata import metadata_server

NOTICE = '{"action": "terminate", "time": "2026-03-01T08:22:00Z"}'


class Service(NamedTuple):
    address: str
    notice: Path


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    notice = tmp_path / "notice"
    with metadata_server("127.0.0.1", 0, notice) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Service(f"http://127.0.0.1:{server.server_address[1]}", notice)
        server.shutdown()


def test_no_notice_is_none(service):
    assert spot.deadline(service.address) is None


def test_a_notice_names_its_time(service):
    service.notice.write_text(NOTICE)
    assert spot.deadline(service.address) == datetime(2026, 3, 1, 8, 22, tzinfo=UTC)


@pytest.mark.parametrize("answer", ["", "[]", '{"action": "terminate"}', '{"time": "soon"}'])
def test_what_is_no_notice_is_an_error(service, answer):
    service.notice.write_text(answer)
    with pytest.raises(ValueError, match=r"."):
        spot.deadline(service.address)


def test_an_error_of_the_service_does_not_end_the_watch(service, monkeypatch):
    """There is no notice, then an odd one, and then Ray cannot be told at once."""
    drained: list[tuple[str, int]] = []
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        service.notice.write_text("odd" if len(looks) == 1 else NOTICE)

    def drain(node_id: str, seconds: int) -> None:
        if len(looks) < 3:
            raise OSError("ray drain-node: not yet")
        drained.append((node_id, seconds))

    monkeypatch.setattr(spot.time, "sleep", sleep)
    monkeypatch.setattr(spot, "drain", drain)
    spot.watch(spot.Watch(service.address, every=0.25, node_id="abc"))
    assert drained == [("abc", 0)]  # that time is past
    assert looks == [0.25] * 3


def test_a_service_that_is_away_is_an_error_that_the_watch_survives():
    with pytest.raises(OSError, match=r"."):
        spot.deadline(f"http://127.0.0.1:{free_port()}")
