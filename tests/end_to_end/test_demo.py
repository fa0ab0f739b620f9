"""The demonstration shows what it promises and leaves nothing behind."""

import subprocess
import sys
from pathlib import Path


def test_the_demonstration_talks_encrypted_and_cleans_up(tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "homeserver", "demo"],
        capture_output=True,
        check=True,
        text=True,
        timeout=90,
        env={"TMPDIR": str(tmp_path), "PATH": "", "HOME": str(tmp_path)},
    )
    assert shown.stderr == ""
    assert "An encrypted room" in shown.stdout
    assert shown.stdout.count("0 of the 20 messages can be read") == 2
    assert "0 of 25 texts and names can be read" in shown.stdout
    assert list(tmp_path.glob("homeserver-demo-*")) == []
