#!/usr/bin/env python3
"""Adds up GoogleTest's XML results of one build folder.

usage: count_results.py PRESET BUILD_FOLDER

Prints "PASSED FAILED" on the first line, then each failed test. A test binary that wrote no result (it crashed) counts as one failure.
"""
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree


def main() -> int:
    preset, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    passed = 0
    failures = []
    # ctest's own list says which binaries there are.
    listed = re.findall(r"add_test\(\[?=*\[?(\w+)\]?=*\]?", (folder / "tests" / "CTestTestfile.cmake").read_text())
    for name in listed:
        result = folder / "test_results" / f"{name}.xml"
        try:
            root = ElementTree.parse(result).getroot()
        except (OSError, ElementTree.ParseError):
            failures.append(f"{preset}: {name}: no result (the test binary crashed or never ran)")
            continue
        for case in root.iter("testcase"):
            if case.get("status") == "notrun" or case.get("result") == "suppressed":
                continue
            if case.find("failure") is not None:
                failures.append(f"{preset}: {name}: {case.get('classname')}.{case.get('name')}")
            elif case.find("skipped") is None:
                passed += 1
    print(passed, len(failures))
    for failure in failures:
        print("failed:", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
