"""Runs named checks one after the other, says which passed, and ends with a line of sums as pytest has it."""

import time
import traceback


class Checks:
    def __init__(self):
        self.started = time.monotonic()
        self.passed, self.failed = [], []

    def run(self, name, check, *arguments):
        """Runs one check. It fails when `check` raises; what it returns is shown beside its name."""
        started = time.monotonic()
        try:
            shown = check(*arguments)
        except (Exception, SystemExit):
            traceback.print_exc()
            self.failed.append(name)
            print(f"FAILED {name}", flush=True)
            return
        self.passed.append(name)
        print(f"ok {name} ({time.monotonic() - started:.1f} s){f': {shown}' if shown else ''}", flush=True)

    def finish(self):
        print(f"{len(self.passed)} passed, {len(self.failed)} failed in {time.monotonic() - self.started:.1f}s")
        if self.failed:
            raise SystemExit(f"failed: {', '.join(self.failed)}")
