"""A real server that speaks S3, in a process of its own, and what finds it: the environment."""

import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from hicray.io import storage

BUCKET = "lab"


class Bucket(NamedTuple):
    """A bucket, the environment that finds it, and the secret that nothing may repeat."""

    environment: dict[str, str]
    secret: str
    process: subprocess.Popen[bytes]

    def client(self):
        return boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
        )

    def names(self, prefix: str) -> list[str]:
        """Return the keys under a prefix, as another library lists them."""
        pages = (
            self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        )
        return [item["Key"] for page in pages for item in page.get("Contents", [])]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def s3_server(folder: Path, host: str = "127.0.0.1") -> Iterator[Bucket]:
    """Run a server with one empty bucket, at an address of this machine."""
    port, secret = free_port(), secrets.token_hex(20)
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "AKIA" + secrets.token_hex(8).upper(),
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    words = [sys.executable, "-m", "moto.server", "-H", host, "-p", str(port)]
    with (folder / "s3.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    bucket = Bucket(environment, secret, process)
    try:
        _await(bucket)
        yield bucket
    finally:
        process.terminate()
        process.wait()


def _await(bucket: Bucket) -> None:
    for _ in range(300):
        try:
            bucket.client().create_bucket(Bucket=BUCKET)
        except EndpointConnectionError:
            assert bucket.process.poll() is None
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("the S3 server did not start")


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """A bucket that this process's environment names."""
    with s3_server(tmp_path_factory.mktemp("s3")) as there, pytest.MonkeyPatch.context() as patch:
        for name, value in there.environment.items():
            patch.setenv(name, value)
        storage._s3.cache_clear()
        yield there
    storage._s3.cache_clear()
