"""Runs examples/verify.py on many records in one process: reads cases as JSON, writes their exit codes and lines."""
import json, pathlib, sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "examples"))
import verify

verdicts = []
for case in json.load(sys.stdin):
    lines = []
    code = verify.main(case["path"], case["checkpoint"], lines.append)
    verdicts.append((code, lines))
json.dump(verdicts, sys.stdout)
