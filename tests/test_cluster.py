"""The cluster that RAY_ADDRESS names: nobody waits for one that is not there."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from hicray.cluster import connection
from hicray.config import UserError


@contextlib.contextmanager
def listener(answer: bytes | None) -> Iterator[str]:
    """Listen on the loopback; answer every call in the same way, or (None) not at all."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    if answer is not None:
                        client.recv(64)
                        client.sendall(answer)
                        client.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_an_address_where_nobody_listens_is_one_sentence():
    with pytest.raises(UserError, match=r"RAY_ADDRESS=127\.0\.0\.1:9 \(.*refused\); give HOST"):
        connection._join("127.0.0.1:9")


def test_a_host_without_a_name_is_one_sentence():
    with pytest.raises(UserError, match=r"no Ray cluster can be joined at RAY_ADDRESS=no\.such"):
        connection._join("no.such.host.invalid:6379")


@pytest.mark.parametrize("answer", [None, b"", b"SSH-2.0"])
def test_a_service_that_is_not_ray_is_one_sentence(answer, monkeypatch):
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.5)
    with listener(answer) as address, pytest.raises(UserError, match=f"RAY_ADDRESS={address}"):
        connection._join(address)
