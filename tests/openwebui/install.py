"""Installs Open WebUI from PyPI into `.tools/`, once, unless `OPEN_WEBUI_PROGRAM` names one that is there. Needs 7 GB and two minutes.

`constraints.txt` pins what it is tested with. To take a newer one: change `PACKAGE`, install without the constraints, and write them
anew with `uv pip freeze`.
"""

import os
import pathlib
import shutil
import subprocess
import sys

from stage import ROOT

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE, UV = "open-webui==0.12.4", "uv==0.13.9"
SECONDS_MAX = 1800


def installed():
    """Returns the path of the program."""
    if program := os.environ.get("OPEN_WEBUI_PROGRAM"):
        return program
    folder = ROOT / ".tools" / PACKAGE.replace("==", "-")
    programs = folder / "bin"
    complete = folder / "complete"
    if not complete.exists():
        if not (3, 11) <= sys.version_info < (3, 13):
            raise SystemExit("Open WebUI needs Python 3.11 or 3.12: put that first in PATH, as `python3`")
        print(f"installing {PACKAGE}, 7 GB, about two minutes", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        run(sys.executable, "-m", "venv", folder)
        run(programs / "pip", "install", "--quiet", "--disable-pip-version-check", UV)
        # Without a cache, which would double what it takes.
        run(programs / "uv", "pip", "install", "--quiet", "--no-cache", "--python", programs / "python",
            "--constraint", HERE / "constraints.txt", PACKAGE)
        complete.touch()
    return str(programs / "open-webui")


def run(*command):
    subprocess.run([str(word) for word in command], check=True, stdin=subprocess.DEVNULL, timeout=SECONDS_MAX)
