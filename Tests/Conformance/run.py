"""Runs ONNX's backend cases with graft-conformance and prints a table by operator.

    python run.py RUNNER CASES [--list] [PART OF A NAME ...]

Exits with 1 where a case ends the process, or is refused or wrong and expected.txt beside this file does not say so.
"""

import collections
import json
import pathlib
import subprocess
import sys


def verdicts(runner, cases, parts):
    """Each case's verdict; the runner is started again behind a case that ended it."""
    found, after = {}, None
    while True:
        command = [runner, cases, *(["--after", after] if after else []), *parts]
        running = None
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                record = json.loads(line)
                if "start" in record:
                    running = record["start"]
                else:
                    found[record["name"]] = (record["verdict"], record["reason"])
                    running = None
            message = process.stderr.read().strip().splitlines()
        if process.returncode == 0:
            return found
        if running is None:
            sys.exit(f"the runner failed: {message[-1] if message else process.returncode}")
        found[running] = ("crash", message[0] if message else f"status {process.returncode}")
        after = running


def operator(case, cases):
    if case["operator"]:
        return case["operator"]
    base = case["name"].split("_expanded")[0]
    while base not in cases and "_" in base:
        base = base.rsplit("_", 1)[0]
    return cases.get(base, {}).get("operator") or f"({case['kind']} models)"


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--list"]
    runner, folder, parts = arguments[0], arguments[1], arguments[2:]
    listing = json.loads((pathlib.Path(folder) / "cases.json").read_text())
    cases = {case["name"]: case for case in listing["cases"]}
    found = verdicts(runner, folder, parts)

    rows = collections.defaultdict(collections.Counter)
    for name, (verdict, _) in found.items():
        row = rows[operator(cases[name], cases)]
        row[verdict] += 1
        row["cases"] += 1
        row["onnxruntime"] += cases[name]["onnxruntime"] == "pass"
    heads = ("cases", "pass", "wrong", "refused", "crash", "onnxruntime")
    print(f"{'operator':<34}" + "".join(f"{head:>9}" if head != "onnxruntime" else f"{'ORT':>6}" for head in heads))

    def line(title, row):
        print(f"{title[:33]:<34}" + "".join(f"{row[h]:>9}" if h != "onnxruntime" else f"{row[h]:>6}" for h in heads))

    total = collections.Counter()
    for title, row in sorted(rows.items()):
        line(title, row)
        total.update(row)
    line("all", total)
    print(f"\nonnx {listing['onnx']}, onnxruntime {listing['onnxruntime']}: Graft passes "
          f"{total['pass']} of {total['cases']}, onnxruntime {total['onnxruntime']}.")

    expected_file = pathlib.Path(__file__).with_name("expected.txt")
    expected = {}
    for line in expected_file.read_text().splitlines():
        verdict, _, name = line.split("#")[0].strip().partition(" ")
        if name:
            expected[name] = verdict
    bad = {name: what for name, what in found.items() if what[0] != "pass"}
    surprising = {name: what for name, what in bad.items() if expected.get(name) != what[0]}
    for name, (verdict, reason) in sorted((bad if "--list" in sys.argv else surprising).items()):
        print(f"{verdict}: {name}: {reason[:300]}")
    outdated = sorted(name for name in expected if found.get(name, ("",))[0] == "pass")
    for name in outdated:
        print(f"passes now, take it out of expected.txt: {name}")
    sys.exit(1 if surprising or outdated else 0)


if __name__ == "__main__":
    main()
