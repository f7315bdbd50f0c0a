"""`make bench`: measures the gateway beside the bare upstream and nginx, in one run on loopback.

Prints a table and writes `target/bench/report.json`. `QUICK=1` measures shortly, for development: its figures say little.
A part is a file with functions that take the setting and the report; it gets its lines in `main`.
"""

import os
import sys

import chain
import faces
import neighbour
import side_by_side
import starting
from report import GOALS, Report
from setting import REPORT, a_setting


def main():
    quick = os.environ.get("QUICK", "") not in ("", "0")
    report = Report()
    with a_setting() as setting:
        starting.measure_idle(setting, report)
        side_by_side.measure(setting, report, quick)
        starting.measure_loaded(setting, report)
        chain.measure(setting, report)
        faces.measure(setting, report, quick)
        starting.measure_starts(setting, report)
    neighbour.measure(report, quick)
    report.write(REPORT)
    report.show({**GOALS, **chain.GOALS, **faces.GOALS})
    print(f"\nwritten to {REPORT}")
    sys.exit(1 if report.void else 0)


if __name__ == "__main__":
    main()
