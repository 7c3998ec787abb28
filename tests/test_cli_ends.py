"""How a command line ends: quietly where nobody reads on, and without a word of any secret."""

import os
import subprocess
import sys

import pytest

import hicray as package
from hicray.cli.guard import guarded
from tests.command_line import words

HICRAY = [sys.executable, "-c", "from hicray.cli.main import main; main()"]
ADDRESSES = [
    "S3://KEY:S3CRET@bucket/x.mcool",
    "s3://KEY:S3CRET@bucket/x.mcool",
    "s3a://KEY:S3CRET@bucket/x.mcool",
    "https://me:S3CRET@host/x.mcool",
    "https://host/x.mcool?X-Amz-Signature=S3CRET",
]


def test_the_version_is_said(hicray):
    assert hicray("--version") == (0, f"hicray {package.__version__}\n", "")


@pytest.mark.parametrize("given", ["--help", "enhance --help", "--version"])
def test_a_reader_that_is_gone_ends_it_quietly(given):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody:
        done = subprocess.run(
            [*HICRAY, *given.split()], stdout=nobody, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (141, "")


def test_another_pipe_that_breaks_is_no_quiet_end(monkeypatch, capsys):
    def work():
        raise BrokenPipeError(32, "a server's")

    with pytest.raises(BrokenPipeError):
        guarded(work)


@pytest.mark.parametrize("uri", ["", "http://me:S3CRET@127.0.0.1:9", "sqlite:///other.db"])
def test_comparing_what_does_not_exist_makes_nothing(refused, work, uri):
    options = ["--tracking-uri", uri] if uri else []
    said = refused("compare", "--storage", "nowhere", *options)
    assert "nowhere does not exist; name the --storage of a search" in said


def test_comparing_a_folder_without_a_search_makes_nothing(hicray, work):
    (work / "empty").mkdir()
    for options in ([], ["--tracking-uri", "sqlite:///other.db"], ["--tracking-uri", "mlruns"]):
        code, out, err = hicray("compare", "--storage", "empty", *options)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert [path.name for path in work.rglob("*")] == ["empty"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_verb_repeats_a_secret(refused, files, address):
    given = {**files, "--contacts": address}
    for said in (
        refused("check", *words(given)),
        refused("check", *words({**files, "--genome": address})),
        refused("prepare", *words({**files, "--storage": address})),
        refused("train", *words({**files, "--storage": address})),
        refused("compare", "--storage", address),
        refused("enhance", "--checkpoint", address, "--contacts", "a.cool", "--out", "b.mcool"),
        refused("enhance", "--checkpoint", "models:/x", "--contacts", "a.cool", "--out", "b.mcool",
                "--tracking-uri", address),
        refused("evaluate", "--fine", address, "--enhanced", f"a={address}", "--chroms", "chrA",
                "--out", "scores"),
        refused("evaluate", "--fine", files["--contacts"], "--enhanced", f"a={address}",
                "--chroms", "chrA", "--out", "scores"),
        refused("baselines", "--contacts", address, "--out", "b", "--train-chroms", "chrA"),
    ):  # fmt: skip
        assert "S3CRET" not in said


def test_a_traceback_of_what_nobody_foresaw_has_no_secret():
    code = (
        "from hicray.cli.guard import guarded\n"
        "def work(): raise RuntimeError('from postgresql://me:S3CRET@host/x?y=S3CRET')\n"
        "guarded(work)"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "RuntimeError: from postgresql://...@host/x?..." in done.stderr
    assert "S3CRET" not in done.stderr
