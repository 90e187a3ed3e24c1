#!/usr/bin/env python3
"""Adds up GoogleTest's XML results of one build folder.

usage: count_results.py PRESET BUILD_FOLDER

Tests whose expectations failed run once more, alone: some of them hold times against a limit, and a machine may stall for a
moment. What passes then counts as passed and is named as flaky; a crash, or what a sanitizer found, has no second try.

Prints "PASSED FAILED" on the first line, then each failed test and what it said (the beginning), then the flaky ones. A test
binary that wrote no result (it crashed), or failed though its tests passed (a leak), counts as one failure.
"""
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

# Lines of a failure's message that are repeated.
MESSAGE_LINES = 12
SECOND_TRY_SECONDS = 600


def cases(result: pathlib.Path):
    """(name, failure message or None) of each test that ran; OSError or ParseError where there is no result."""
    for case in ElementTree.parse(result).getroot().iter("testcase"):
        if case.get("status") == "notrun" or case.get("result") == "suppressed" or case.find("skipped") is not None:
            continue
        failure = case.find("failure")
        yield f"{case.get('classname')}.{case.get('name')}", None if failure is None else failure.get("message", "")


def pass_second_try(folder: pathlib.Path, name: str, tests: list) -> bool:
    program = folder.resolve() / "tests" / f"{name}_test"
    if not program.exists():
        return False
    command = [program, "--gtest_brief=1", "--gtest_filter=" + ":".join(tests)]
    try:
        run = subprocess.run(command, cwd=folder / "tests", stdout=sys.stderr, timeout=SECOND_TRY_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return run.returncode == 0


def main() -> int:
    preset, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    passed = 0
    failures = []
    flaky = []
    # ctest's own list says which binaries there are, and which of them failed.
    listed = re.findall(r"add_test\(\[?=*\[?(\w+)\]?=*\]?", (folder / "tests" / "CTestTestfile.cmake").read_text())
    try:
        log = (folder / "Testing" / "Temporary" / "LastTestsFailed.log").read_text()
    except OSError:
        log = ""
    ended_badly = {line.partition(":")[2] for line in log.split()}
    for name in listed:
        try:
            results = list(cases(folder / "test_results" / f"{name}.xml"))
        except (OSError, ElementTree.ParseError):
            failures.append(f"{preset}: {name}: no result (the test binary crashed or never ran)")
            continue
        failed = {test: message for test, message in results if message is not None}
        passed += len(results) - len(failed)
        told = ["\n    ".join([f"{preset}: {name}: {test}", *message.splitlines()[:MESSAGE_LINES]]) for test, message in failed.items()]
        if failed and pass_second_try(folder, name, list(failed)):
            passed += len(failed)
            flaky += told
        else:
            failures += told
        if not failed and name in ended_badly:
            failures.append(f"{preset}: {name}: its tests passed, and it ended with an error (a leak, a crash at its end, a time-out)")
    print(passed, len(failures))
    for failure in failures:
        print("failed:", failure)
    for test in flaky:
        print("flaky (passed alone):", test)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
