"""Installs an agent from npm into `.tools/`, once, unless a variable names a program that is there."""

import os
import subprocess

from stage import ROOT


def installed(variable, package, command):
    """Returns the path of `command` of `package`, such as `@openai/codex@0.171.0`."""
    if variable in os.environ:
        return os.environ[variable]
    folder = ROOT / ".tools" / package.lstrip("@").replace("/", "-")
    found = folder / "node_modules/.bin" / command
    if not found.exists():
        print(f"installing {package}, some hundred MB", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), package], check=True, stdin=subprocess.DEVNULL)
    return str(found)
