"""Each example in `examples/` is run as it stands.

Not run: `chat.ps1`, where no PowerShell is installed, and the pipeline file, whose script is.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from stage import ROOT

EXAMPLES = ROOT / "examples"
EXAMPLE_SECONDS_MAX = 120


def run(command, **settings):
    environment = {**os.environ, **settings.pop("environment", {})}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment,
                          timeout=EXAMPLE_SECONDS_MAX, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_curl():
    assert run(["bash", EXAMPLES / "curl.sh"])


def test_openai_python():
    assert run([sys.executable, EXAMPLES / "openai_sdk.py"])


def test_openai_node(tmp_path):
    # Node looks for packages beside the script, so it gets a copy that stands beside ours.
    script = shutil.copy(EXAMPLES / "openai_sdk.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(pathlib.Path(__file__).parent / "node_modules")

    assert run(["node", "--preserve-symlinks", script])


def test_the_script_of_a_ci_job():
    assert run(["sh", EXAMPLES / "ci_job.sh"], input="Fix the \"login\" page\n\nIt did not load for names with an é.\n")


def test_the_script_of_a_ci_job_fails_when_its_credentials_are_wrong():
    wrong = {**os.environ, "LGW_TOKEN": "lgw_m_not-a-token"}

    done = subprocess.run(["sh", str(EXAMPLES / "ci_job.sh")], input="Text", capture_output=True, text=True, env=wrong,
                          timeout=EXAMPLE_SECONDS_MAX)

    assert done.returncode != 0
    assert "lgw_m_not-a-token" not in done.stdout + done.stderr
    assert "unauthorized" in done.stderr


@pytest.mark.skipif(not shutil.which("pwsh"), reason="no PowerShell here")
def test_powershell():
    assert run(["pwsh", "-NoProfile", "-File", EXAMPLES / "chat.ps1"])
