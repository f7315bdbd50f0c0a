"""Installs Open WebUI from PyPI, unless `OPEN_WEBUI_PROGRAM` names one.

`constraints.txt` pins what it is tested with. To take a newer one: change `PACKAGE`, install without the constraints, and write them
anew with `uv pip freeze`.
"""

import pathlib
import sys

import on_demand

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE, UV = "open-webui==0.12.4", "uv==0.13.9"


def installed():
    return on_demand.installed("OPEN_WEBUI_PROGRAM", PACKAGE, "bin/open-webui", install, "7 GB, about two minutes")


def install(folder):
    if not (3, 11) <= sys.version_info < (3, 13):
        raise SystemExit("Open WebUI needs Python 3.11 or 3.12: put that first in PATH, as `python3`")
    programs = folder / "bin"
    on_demand.run(sys.executable, "-m", "venv", folder)
    on_demand.run(programs / "pip", "install", "--quiet", "--disable-pip-version-check", UV)
    # Without a cache, which would double what it takes.
    on_demand.run(programs / "uv", "pip", "install", "--quiet", "--no-cache", "--python", programs / "python",
                  "--constraint", HERE / "constraints.txt", PACKAGE)
