"""Installs n8n from npm into `.tools/`, once, unless `N8N_PROGRAM` names one that is there. Needs 2.8 GB and about four minutes."""

import os
import shutil
import subprocess

from stage import ROOT

# n8n 2.40 wants Node 22 or 24, whatever runs on this machine. Later versions of n8n need a newer one.
NODE, N8N = "node@24.21.0", "n8n@2.40.5"
SECONDS_MAX = 1800


def installed():
    """Returns the path of the program. Its folder holds the Node that runs it."""
    if program := os.environ.get("N8N_PROGRAM"):
        return program
    folder = ROOT / ".tools" / N8N.replace("@", "-")
    programs = folder / "node_modules/.bin"
    complete = folder / "complete"
    if not complete.exists():
        print(f"installing {N8N} and {NODE}, 2.8 GB, about four minutes", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text("{}")
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        npm(folder, path, "install", "--save-exact", NODE)
        # Scripts of 2,000 packages are not run, but for that of the database.
        npm(folder, path, "install", "--save-exact", "--ignore-scripts", N8N)
        npm(folder, path, "rebuild", "sqlite3")
        complete.touch()
    return str(programs / "n8n")


def npm(folder, path, *arguments):
    command = ["npm", *arguments, "--silent", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, check=True, stdin=subprocess.DEVNULL, timeout=SECONDS_MAX)
