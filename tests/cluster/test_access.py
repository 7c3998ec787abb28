"""Who may do what on a started cluster: nobody without the token, and little is there to knock at.

The visitor is on the worker's host, inside of the security group: the worst place to have him.
"""

import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.cluster.conftest import Started
from tests.cluster.hosts import PATH, Host

pytestmark = pytest.mark.slow
DASHBOARD, CLIENT, MLFLOW = 8265, 10001, 5000
KEEP = """
import ray
@ray.remote(num_cpus=0)
class Secret:
    def tell(self):
        return "told"
ray.init(address="auto", namespace="lab", log_to_driver=False)
kept = Secret.options(name="secret", lifetime="detached").remote()
print(ray.get(kept.tell.remote()))
"""
CALL = """
import ray
ray.init(address="{address}:6379", namespace="lab", log_to_driver=False)
print(ray.get(ray.get_actor("secret").tell.remote()))
"""
POST = """
import json, sys
from urllib.request import Request, urlopen
from urllib.error import HTTPError
url, token = sys.argv[1:]
headers = dict(Authorization="Bearer " + token) if token else dict()
body = json.dumps(dict(entrypoint="true")).encode()
try:
    headers["Content-Type"] = "application/json"
    print(urlopen(Request(url, body, headers), timeout=10).status)
except HTTPError as error:
    print(error.code)
except OSError:
    print("no HTTP")
"""


def python(started: Started, host: Host, program: str, *words: str, **variables: str) -> str:
    """Run a program on a host with this environment alone, and return what it printed."""
    given = [f"{name}={value}" for name, value in {"PATH": PATH, **variables}.items()]
    interpreter = str(host.folder / "home" / ".venv" / "bin" / "python")
    line = host.inside("timeout", "90", "env", "-i", *given, interpreter, "-c", program, *words)
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd="/")
    return done.stdout.strip()


@pytest.fixture(scope="module")
def token(started: Started) -> str:
    return (started.home / ".ray" / "auth_token").read_text().strip()


@pytest.fixture(scope="module")
def secret(started: Started, token: str) -> None:
    """An actor on the cluster."""
    assert python(started, started.head, KEEP, **who(token)) == "told"


def who(token: str) -> dict[str, str]:
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "HOME": "/nonexistent"}


def listening(host: Host) -> Iterator[tuple[str, int, str]]:
    """Yield address, port and program of what listens on a host."""
    done = subprocess.run(host.inside("ss", "-Hltnp"), capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        words = line.split()
        address, port = words[3].rsplit(":", 1)
        found = re.search(r'"([^"]+)"', line)
        yield address, int(port), found.group(1) if found else ""


def test_the_token_is_its_owner_s_alone(started):
    for host in started.hosts.hosts:
        mode = (host.folder / "home" / ".ray" / "auth_token").stat().st_mode
        assert mode & 0o777 == 0o600


def test_dashboard_and_mlflow_listen_on_loopback_and_ray_s_client_server_not_at_all(started):
    found = {port: set[str]() for port in (DASHBOARD, CLIENT, MLFLOW)}
    for address, port, _ in listening(started.head):
        found.get(port, set()).add(address)
    assert found == {DASHBOARD: {"127.0.0.1"}, CLIENT: set(), MLFLOW: {"127.0.0.1"}}


def test_no_job_without_the_token(started, token):
    url = f"http://127.0.0.1:{DASHBOARD}/api/jobs/"
    assert python(started, started.head, POST, url, "") == "401"
    assert python(started, started.head, POST, url, "wrong") == "403"
    assert python(started, started.head, POST, url, token) == "200"


@pytest.mark.parametrize("path", ["api/job_agent/jobs/", "get_or_create_runtime_env"])
def test_no_work_by_a_side_door(started, path):
    """Of the ports that the world sees, some speak HTTP: agents that start jobs on their node."""
    for host in started.hosts.hosts:
        for address, port, program in listening(host):
            if address not in ("127.0.0.1", "[::1]"):
                url = f"http://{host.address}:{port}/{path}"
                said = python(started, started.worker, POST, url, "")
                assert said != "200", f"{program} at {url}"


def test_with_the_token_an_actor_answers(started, secret, token):
    program = CALL.format(address=started.head.address)
    assert python(started, started.worker, program, **who(token)) == "told"


@pytest.mark.parametrize("variables", [{"RAY_AUTH_MODE": "disabled"}, who("wrong")])
def test_without_it_no_actor_can_be_called(started, secret, variables):
    program = CALL.format(address=started.head.address)
    assert python(started, started.worker, program, **variables) == ""


def test_no_client_connects(started, secret, token):
    program = f'import ray; ray.init("ray://{started.head.address}:{CLIENT}"); print("in")'
    assert python(started, started.worker, program, **who("wrong")) == ""
