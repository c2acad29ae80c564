"""The tools of the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.gateway import SDK
from tests.waiting import DEADLINE, eventually

PROGRAM = """
import os, signal
from tests.gateway import Gateway
Gateway()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_gateway_ends_and_its_data_is_removed_when_its_process_is_killed(tmp_path: Path) -> None:
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join((str(SDK), str(SDK / "src"))), "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=settings, timeout=DEADLINE, check=False)
    assert done.returncode == -signal.SIGKILL
    eventually("the gateway to end", lambda: not list(tmp_path.iterdir()))
