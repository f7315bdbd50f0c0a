"""Validates the OpenAPI document.

Needs what `scripts/test.sh` installs.
"""

import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SECONDS_MAX = 600

PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]


def main():
    done = subprocess.run([*PYTEST, str(HERE)], stdin=subprocess.DEVNULL, timeout=SECONDS_MAX)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
