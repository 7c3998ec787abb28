"""What the documents name is there: linked files, files of code, tests, options."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
ROOMS = {path.parent.name for path in (ROOT / "hicray").glob("*/__init__.py")}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text())
    own = [link for link in links if "://" not in link]
    assert [link for link in own if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_anchors_are_headings(path):
    for file, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", path.read_text()):
        target = (path.parent / file) if file else path
        heads = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.MULTILINE)
        slugs = [re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads]
        assert anchor in slugs, (file, anchor)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_of_code_that_are_named_exist(path):
    if path.name == "CHANGELOG.md":
        pytest.skip("names what is gone, too")
    named = re.findall(r"`([\w/]+\.py)(?:::\w+)?`", path.read_text())
    roots = (ROOT, ROOT / "hicray", ROOT / "tests", ROOT / "experiments")
    assert [name for name in named if not any((root / name).exists() for root in roots)] == []


def test_options_that_are_named_exist():
    run = [sys.executable, str(ROOT / "experiments" / "tune_encoder.py"), "--help"]
    known = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    table = (ROOT / "docs" / "options.md").read_text() + (ROOT / "README.md").read_text()
    named = re.findall(r"^\| ((?:`--[\w-]+`(?:, )?)+) \|", table, flags=re.MULTILINE)
    options = {option for cell in named for option in re.findall(r"--[\w-]+", cell)}
    assert len(options) > 25
    assert [option for option in sorted(options) if option not in known] == []
