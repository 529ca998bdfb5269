"""Runs the tests against the peers: each test file in a process of its own, as many at once as there are processors.

Prints what failed, the largest figure of each kind, and one last line "N passed, N failed, N skipped".
"""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


class Result(unittest.TestResult):
    """Keeps the outcome of each test."""

    def __init__(self):
        super().__init__()
        self.outcomes = []

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def keep(self, test, kind, text=""):
        name = test.id().split(".", 1)[1] if hasattr(test, "id") else str(test)
        seconds = time.monotonic() - getattr(self, "began", time.monotonic())
        self.outcomes.append(dict(name=name, kind=kind, text=text, seconds=seconds))

    def addSuccess(self, test):
        self.keep(test, "passed")

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.keep(test, "failed", self.failures[-1][1])

    def addError(self, test, error):
        super().addError(test, error)
        self.keep(test, "failed", self.errors[-1][1])

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            kept = self.failures if issubclass(error[0], test.failureException) else self.errors
            self.keep(subtest, "failed", kept[-1][1])

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.keep(test, "skipped", reason)


def select(suite, parts):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from select(test, parts)
        elif not parts or any(part in test.id() for part in parts):
            yield test


def run_module(module, parts, answer):
    import support

    result = Result()
    loaded = unittest.defaultTestLoader.loadTestsFromName(module)
    unittest.TestSuite(select(loaded, parts)).run(result)
    answer.write_text(json.dumps(dict(outcomes=result.outcomes, figures=support.figures())))


def run_in_process(module, parts):
    """Runs a module in a process of its own, so that a crash of a peer's library is one failure."""
    with tempfile.TemporaryDirectory() as place:
        answer = pathlib.Path(place) / "answer.json"
        command = [sys.executable, "-W", "ignore", __file__, "--module", module, str(answer), *parts]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=3600)
        if answer.exists():
            return json.loads(answer.read_text())
        text = f"the process ended with {done.returncode}\n{done.stderr[-3000:]}"
        return dict(outcomes=[dict(name=module, kind="failed", text=text, seconds=0)], figures={})


def main(parts):
    modules = sorted(path.stem for path in HERE.glob("test_*.py"))
    chosen = [m for m in modules if m in parts or m.removeprefix("test_") in parts]
    if chosen:
        modules, parts = chosen, [p for p in parts if p not in chosen and f"test_{p}" not in chosen]
    began = time.monotonic()
    counts, figures, reasons = dict(passed=0, failed=0, skipped=0), {}, {}
    with concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        running = {pool.submit(run_in_process, module, parts): module for module in modules}
        for done in concurrent.futures.as_completed(running):
            answer = done.result()
            here = dict(passed=0, failed=0, skipped=0)
            for outcome in answer["outcomes"]:
                here[outcome["kind"]] += 1
                if outcome["kind"] == "failed":
                    print(f"FAILED {outcome['name']}\n    " + outcome["text"].strip().replace("\n", "\n    "))
                if outcome["kind"] == "skipped":
                    reasons.setdefault(outcome["text"], []).append(outcome["name"])
            for kind, count in here.items():
                counts[kind] += count
            seconds = sum(outcome["seconds"] for outcome in answer["outcomes"])
            summary = ", ".join(f"{count} {kind}" for kind, count in here.items())
            print(f"{running[done]}: {summary} ({seconds:.0f} s)", flush=True)
            figures.update(answer["figures"])
    for reason, names in reasons.items():
        print(f"skipped, {reason}: {len(names)}")
    if figures:
        width = max(map(len, figures))
        print("\nLargest figures")
        for title, (count, largest, where) in sorted(figures.items()):
            print(f"  {title:{width}}  {largest:9.2e}  of {count:4}  {where}")
    print(f"\nPeers, {time.monotonic() - began:.0f} s")
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--module"]:
        run_module(sys.argv[2], sys.argv[4:], pathlib.Path(sys.argv[3]))
    else:
        sys.exit(main(sys.argv[1:]))
