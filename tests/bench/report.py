"""Figures under their names: medians of samples, a table, and `report.json`."""

import collections
import json
import statistics

# A sample is left out when others took more of the machine meanwhile, and enough quieter ones are there.
OTHERS_MAX = 0.10
SAMPLES_MIN = 3

# What the project wants to reach; the second figure is the goal behind the first.
GOALS = {
    "rps_c16_vs_nginx": (">=", 0.35, 0.45),
    "rps_c64_vs_nginx": (">=", 0.50, 0.60),
    "cpu_per_request_vs_nginx": ("<=", 3.0, 2.3),
    "stream_tokens_vs_nginx": (">=", 0.80, 0.85),
    "pss_idle_mib": ("<=", 20, 16),
    "start_ms": ("<=", 100, 50),
    "start_million_rows_ms": ("<=", 200, 150),
    "rows_missing": ("<=", 0, 0),
    "neighbour_p95_fair": ("<=", 2.5, None),
    "neighbour_p95_batch": ("<=", 2.0, None),
    "neighbour_throughput_vs_unfair": (">=", 0.97, None),
}


class Samples:
    """What was measured of one thing, round after round."""

    def __init__(self):
        self._taken = collections.defaultdict(list)

    def add(self, key, others, **values):
        self._taken[key].append((others, values))

    def clean(self):
        """How many quiet rounds the worst measured thing has."""
        return min(sum(others <= OTHERS_MAX for others, _ in taken) for taken in self._taken.values())

    def median(self, key, name):
        return statistics.median(values[name] for _, values in self._kept(key))

    def others(self):
        return [others for taken in self._taken.values() for others, _ in taken]

    def left_out(self):
        return sum(len(taken) - len(self._kept(key)) for key, taken in self._taken.items())

    def _kept(self, key):
        taken = sorted(self._taken[key], key=lambda sample: sample[0])
        quiet = [sample for sample in taken if sample[0] <= OTHERS_MAX]
        return quiet if len(quiet) >= SAMPLES_MIN else taken[:SAMPLES_MIN]


class Report:
    def __init__(self):
        self.figures = {}
        # Why the run says nothing, if it does.
        self.void = []

    def set(self, name, value, unit):
        self.figures[name] = {"value": round(value, 4), "unit": unit}

    def value(self, name):
        return self.figures[name]["value"]

    def write(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.figures, indent=2) + "\n")

    def show(self, goals=None):
        """Prints the table; the names of figures that miss their goal."""
        goals, missed = dict(goals or GOALS), []
        if {"ttft_added_nginx_ms", "fdatasync_p50_ms"} <= self.figures.keys():
            most = self.value("ttft_added_nginx_ms") + 2 * self.value("fdatasync_p50_ms") + 1
            goals["ttft_added_ms"] = ("<=", round(most, 3), None)
        width = max([32, *map(len, self.figures)])
        print(f"\n{'figure':{width}} {'value':>10} {'unit':9} goal")
        for name, figure in self.figures.items():
            told = ""
            if name in goals:
                sign, now, behind = goals[name]
                reached = figure["value"] >= now if sign == ">=" else figure["value"] <= now
                missed += [] if reached else [name]
                told = f"{sign} {now:g} {'reached' if reached else 'MISSED'}"
                told += f" (behind it: {behind:g})" if behind is not None else ""
            print(f"{name:{width}} {figure['value']:10g} {figure['unit']:9} {told}")
        for why in self.void:
            print(f"\nVOID: {why}")
        return missed
