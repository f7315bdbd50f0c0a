"""What the machine says: CPU of processes, CPU that others took, memory, the time of a sync."""

import os
import pathlib
import resource
import statistics
import time

TICKS = os.sysconf("SC_CLK_TCK")
SYNCS = 100


def cpu_seconds(pid):
    """User and system time of a process and its threads, those of its children that still run included."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    own = (int(fields[11]) + int(fields[12])) / TICKS
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(cpu_seconds(child) for child in children)


def pss_mib(pid):
    """Memory of a process, of what it shares with others only its part."""
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


class OthersCpu:
    """The share of the machine that went to programs which are none of ours."""

    def __init__(self, pids):
        self.pids = pids
        self.began = self._now()

    def share(self):
        (seconds, busy, ours), (seconds_before, busy_before, ours_before) = self._now(), self.began
        whole = (seconds - seconds_before) * os.cpu_count()
        return max(0.0, (busy - busy_before - (ours - ours_before)) / whole)

    def _now(self):
        user, nice, system, _idle, _wait, irq, softirq, steal = map(
            int, pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
        # Work for the network is done in the name of whoever happens to run, and is nobody's in particular.
        busy = (user + nice + system + steal) / TICKS
        ours = sum(cpu_seconds(pid) for pid in self.pids)
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            used = resource.getrusage(who)
            ours += used.ru_utime + used.ru_stime
        return time.monotonic(), busy, ours


def fdatasync_ms(folder):
    """The median time to bring 4 KiB at the end of a file to the disk."""
    path = folder / "sync"
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            file.write(b"\0" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(times) * 1000
