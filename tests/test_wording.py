"""Locations, errors, commands and names as people read them: no secret, no broken quoting."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from hicray.config import UserError
from hicray.wording import command, in_markdown, reason, scrubbed, shown

SECRETS = {
    "s3://KEY:S3CRET@bucket/x": "s3://...@bucket/x",
    "S3://KEY:S3C/RET@bucket/x": "S3://...@bucket/x",
    "s3a://KEY:S3C@RET@bucket/x": "s3a://...@bucket/x",
    "s3:/KEY:S3CRET@bucket/x": "s3:/...@bucket/x",
    "/work/S3:/KEY:S3CRET@bucket": "/work/S3:/...@bucket",
    "https://me:S3CRET@host/x.mcool": "https://...@host/x.mcool",
    "https://host/x.mcool?X-Amz-Signature=S3CRET&y=(S3CRET)": "https://host/x.mcool?...",
    "seq=https://me:S3CRET@host/x": "seq=https://...@host/x",
    "postgresql+psycopg2://me:S3C%40RET@host:5432/db?password=S3CRET":
        "postgresql+psycopg2://...@host:5432/db?...",
    "http://host/x?a=http://me:S3CRET@b": "http://...@b",
}  # fmt: skip
PLAIN = [
    "/data/me@uni/why?.mcool", "sqlite:////data/me@uni/mlflow.db", "s3://bucket/a/b.mcool",
    "http://mlflow:5000", "file:///data/me@uni", "maps/H1.mcool::/resolutions/4000",
]  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_of_an_address_is_shown(secret):
    assert shown(secret) == SECRETS[secret]
    for text in (f"{secret} is wrong", f"it ({secret}), that", f"'{secret}'", f"x\n{secret};\ny"):
        assert "S3C" not in scrubbed(text)
        assert "S3C" not in str(UserError(text))
        assert "S3C" not in reason(OSError(text))
    assert "(s3://...@b/x); give another, me@home" in scrubbed(
        "(s3://k:s@b/x); give another, me@home"
    )


@pytest.mark.parametrize("where", PLAIN)
def test_what_holds_no_secret_is_shown_as_it_is(where):
    assert shown(where) == where
    assert scrubbed(f"the file '{where}', or ({where});") == f"the file '{where}', or ({where});"


def test_an_error_is_its_first_line_or_its_name():
    assert reason(OSError("one\ntwo")) == "one"
    assert reason(TimeoutError()) == "TimeoutError"


def test_a_command_is_one_that_any_shell_runs_anywhere(tmp_path):
    folder = tmp_path / "a b%20'c?#|;$HOME"
    folder.mkdir()
    line = command("python", "-c", "import sys; print(sys.argv[1])", folder)
    assert Path(shlex.split(line)[0]) == Path(sys.executable).with_name("python")
    words = ["env", "-i", "sh", "-c", line]
    done = subprocess.run(words, cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout == f"{folder}\n"
    assert command("no-such-program", "a b") == "no-such-program 'a b'"


@pytest.mark.parametrize(
    "name", ["HLA-B*07:02:01", "a|b", "x*y*z", "<b>", "[x](y)", "`a`", "c\\|d"]
)
def test_a_name_is_shown_whole_in_a_cell(name):
    table = f"| {in_markdown(name)} | 1 |\n| --- | --- |\n| {in_markdown(name)} | 2 |"
    tokens = MarkdownIt("commonmark").enable("table").parse(table)
    texts = [
        "".join(child.content for child in token.children)
        for token in tokens
        if token.type == "inline"
    ]
    assert texts == [name, "1", name, "2"]
