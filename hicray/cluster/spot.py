"""The cloud's notice that it takes a spot machine back, turned into a drain of its Ray node.

``python -m hicray.cluster.spot`` runs beside Ray on every spot worker. Two minutes before it takes
a machine away, EC2 says so on the metadata service that each machine reaches at a fixed address
(IMDSv2). Ray does not look there by itself; a drained node gets no new work, and what runs on it
may save itself.
"""

import argparse
import json
import logging
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

logger = logging.getLogger(__name__)
METADATA = "http://169.254.169.254"
_TIMEOUT = 2.0
"""Seconds that the metadata service, which is no further than the machine's own host, may take."""


@dataclass(frozen=True)
class Watch:
    """What is watched, and which node is drained.

    Attributes:
        metadata: Address of the metadata service.
        every: Seconds between looks.
        node_id: Ray's id of this node; found by its raylet if not given.
    """

    metadata: str = METADATA
    every: float = 5.0
    node_id: str = ""


def deadline(metadata: str) -> datetime | None:
    """Return when the machine will be taken away, or None while it will not.

    Args:
        metadata: Address of the metadata service.

    Raises:
        OSError: The service does not answer.
        ValueError: Its answer is not a notice.
    """
    # IMDSv2 answers a request that brings a token, and a PUT gives one.
    token = _ask(metadata, "api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, "PUT")
    try:
        text = _ask(metadata, "meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token})
    except HTTPError as error:
        if error.code == 404:  # no notice
            return None
        raise
    notice = json.loads(text)
    try:
        return datetime.fromisoformat(notice["time"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{text!r} names no time") from error


def _ask(metadata: str, path: str, headers: dict[str, str], method: str = "GET") -> str:
    request = Request(f"{metadata}/latest/{path}", headers=headers, method=method)
    with urlopen(request, timeout=_TIMEOUT) as answer:
        text: str = answer.read().decode()
    return text


def own_node() -> str:
    """Return the id of the Ray node on this machine.

    Raises:
        LookupError: There is none.
    """
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended meanwhile
            continue
        if Path(words[0]).name == "raylet":
            for word in words:
                name, _, value = word.partition("=")
                if name == "--node_id":
                    return value
    raise LookupError("no raylet runs here")


def drain(node_id: str, seconds: int) -> None:
    """Tell Ray that a node goes away.

    Args:
        node_id: Ray's id of the node.
        seconds: How long it has still.

    Raises:
        OSError: Ray could not be told.
    """
    ray = Path(sys.executable).with_name("ray")
    options = {
        "--node-id": node_id,
        "--reason": "DRAIN_NODE_REASON_PREEMPTION",
        "--reason-message": "spot",
        "--deadline-remaining-seconds": str(seconds),
    }
    words = [str(ray), "drain-node", *(word for pair in options.items() for word in pair)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ray drain-node: {done.stderr.strip()[-500:]}")


def watch(settings: Watch) -> None:
    """Look until there is a notice and Ray knows of it; nothing else ends the watch."""
    last_error = ""
    while True:
        try:
            end = deadline(settings.metadata)
            if end is not None:
                seconds = max(0, int((end - datetime.now(UTC)).total_seconds()))
                node = settings.node_id or own_node()
                drain(node, seconds)
                logger.warning("taken away in %d s: node %s is drained", seconds, node)
                return
        except (OSError, ValueError, LookupError) as error:
            # Once for each kind: outside a cloud it is the same every time.
            if str(error) != last_error:
                last_error = str(error)
                logger.warning("%s", last_error)
        time.sleep(settings.every)


def main() -> None:
    """Watch with the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m hicray.cluster.spot", description=__doc__)
    parser.add_argument("--metadata", default=METADATA, help="address of the metadata service")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between looks")
    parser.add_argument("--node-id", default="", help="Ray's id of the node, if not this one's")
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    watch(Watch(options.metadata, options.every, options.node_id))


if __name__ == "__main__":
    main()
