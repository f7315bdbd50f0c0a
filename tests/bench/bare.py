"""`python3 tests/bench/bare.py`: what of the gateway's cost its parts have by themselves.

Measures `bare.rs` beside nginx and the gateway, without a record and with two synced rows a request and nothing else, and
prints each as a ratio to nginx. The first is a ceiling; the second says what the usual way to the disk leaves of it. Takes a few
minutes and needs what `make bench` has built.
"""

import sys

from report import Report
from setting import PROGRAMS, Setting, Target, a_setting
from side_by_side import Rounds, warm_up

LOADS = ("c16", "c64")


class BareSetting(Setting):
    def __init__(self, stage):
        super().__init__(stage)
        self.bare = [self._bare("bare"), self._bare("recorded", stage.folder / "recorded.db")]

    @property
    def targets(self):
        return [self.direct, self.nginx, *self.bare, self.gateway]

    def _bare(self, name, *file):
        url, process = self.stage.program([PROGRAMS / "bench-bare", self.direct.url, *file], name)
        return Target(name, url, process.pid)


def main():
    report = Report()
    with a_setting(BareSetting) as setting:
        warm_up(setting, LOADS)
        rounds = Rounds(setting, report, only=LOADS)
        rounds.run(4, 5)
    rounds.check_direct()
    median = rounds.samples.median
    for load in LOADS:
        for name, of in (("rps", "per_second"), ("cpu", "cpu_us")):
            for target in ("bare", "recorded", "gateway"):
                ratio = median((load, target), of) / median((load, "nginx"), of)
                report.set(f"{name}_{load}_{target}_vs_nginx", ratio, "ratio")
    report.set("rows_missing", rounds.missing, "rows")
    report.show()
    sys.exit(1 if report.void else 0)


if __name__ == "__main__":
    main()
