"""Installs large programs into `.tools/` for tests on demand, once, unless a variable names one that is there."""

import os
import re
import shutil
import subprocess

from stage import ROOT

SECONDS_MAX = 1800


def installed(variable, package, program, install, size):
    """Returns the path of a program. `install` puts `package`, such as `n8n@2.40.5`, into a folder, where `program` is its path."""
    if named := os.environ.get(variable):
        return named
    folder = ROOT / ".tools" / re.sub("[^a-z0-9.]+", "-", package).strip("-")
    # It is there after an installation that did not break off.
    complete = folder / "complete"
    if not complete.exists():
        print(f"installing {package}, {size}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        install(folder)
        complete.touch()
    return str(folder / program)


def npm(folder, *arguments):
    """Runs npm for the packages in `folder`. A Node among them comes before that of this machine."""
    package = folder / "package.json"
    if not package.exists():
        package.write_text("{}")
    path = f"{folder / 'node_modules/.bin'}{os.pathsep}{os.environ['PATH']}"
    run("npm", *arguments, "--silent", "--no-audit", "--no-fund", cwd=folder, env={**os.environ, "PATH": path})


def run(*command, **options):
    subprocess.run([str(word) for word in command], check=True, stdin=subprocess.DEVNULL, timeout=SECONDS_MAX, **options)
