"""Bars on a terminal, lines in a log, with real processes."""

import os
import pty
import subprocess
import sys
import termios

EPOCHS = """
import logging, sys, time
from hicray.io.progress import tqdm
with tqdm(total=3, desc="seq", unit="epoch") as bar:
    for epoch in range(3):
        bar.write(f"note {epoch}", file=sys.stderr)
        bar.set_postfix_str(f"epoch {epoch + 1}", refresh=False)
        bar.update(1)
for _ in tqdm(range(300), desc="cut", unit="chrom"):
    time.sleep(0.001)
with tqdm(total=1, desc="late", delay=60) as bar:
    bar.update(1)
with tqdm(total=9, desc="off", disable=True) as bar:
    bar.update(1)
with tqdm(total=4, desc="cut short", unit="epoch") as bar:
    bar.update(1)
"""


def test_a_log_has_a_line_an_epoch_and_no_carriage_return():
    done = subprocess.run(
        [sys.executable, "-c", EPOCHS], capture_output=True, text=True, check=True
    )
    assert "\r" not in done.stderr
    lines = done.stderr.splitlines()
    assert all(lines)
    of_epochs = [line for line in lines if line.startswith("seq")]
    assert [line.partition("|")[0] for line in of_epochs] == [
        "seq:   0%", "seq:  33%", "seq:  67%", "seq: 100%",
    ]  # fmt: skip
    assert [f"epoch {n}" in of_epochs[n] for n in (1, 2, 3)] == [True] * 3
    assert [line for line in lines if line.startswith("note")] == ["note 0", "note 1", "note 2"]
    cut = [line.partition("|")[0] for line in lines if line.startswith("cut:")]
    assert cut == ["cut:   0%", "cut: 100%"]
    short = [line.partition("|")[0] for line in lines if line.startswith("cut short")]
    assert short == ["cut short:   0%", "cut short:  25%"]
    assert not [line for line in lines if line.startswith(("late", "off"))]


def test_a_terminal_has_a_bar():
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with subprocess.Popen([sys.executable, "-c", EPOCHS], stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                said += os.read(ours, 65_536)
            except OSError:  # the other end is closed
                break
    os.close(ours)
    assert process.returncode == 0
    assert b"\rseq: 100%" in said
    assert b"\rcut: 100%" in said
