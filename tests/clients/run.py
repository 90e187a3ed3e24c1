"""Runs every *_test.py of this folder and writes the results as GoogleTest does: run.py BUILD [RESULT.xml] [NAME_PART...]

Ends with 0 when all tests passed.
"""
import os
import pathlib
import sys
import time
import unittest
import xml.etree.ElementTree as ElementTree


class XmlResult(unittest.TextTestResult):
    """Keeps one <testcase> per test."""

    def __init__(self, *args):
        super().__init__(*args)
        self.cases = ElementTree.Element("testsuites", name="clients")
        self.began = 0.0

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def _case(self, test):
        parts = test.id().rsplit(".", 2)
        case = ElementTree.SubElement(self.cases, "testcase", classname=parts[-2], name=parts[-1])
        case.set("time", f"{time.monotonic() - self.began:.3f}")
        return case

    def addSuccess(self, test):
        super().addSuccess(test)
        self._case(test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        ElementTree.SubElement(self._case(test), "failure", message=self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        ElementTree.SubElement(self._case(test), "failure", message=self.errors[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            ElementTree.SubElement(self._case(test), "failure", message=f"{subtest}: {err[1]}")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        ElementTree.SubElement(self._case(test), "skipped", message=reason)


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    here = pathlib.Path(__file__).resolve().parent
    os.environ["PORTICO_BUILD"] = str(pathlib.Path(sys.argv[1]).resolve())
    sys.path.insert(0, str(here))
    loader = unittest.TestLoader()
    if len(sys.argv) > 3:
        loader.testNamePatterns = [f"*{part}*" for part in sys.argv[3:]]
    suite = loader.discover(str(here), pattern="*_test.py", top_level_dir=str(here))
    runner = unittest.TextTestRunner(resultclass=XmlResult, verbosity=2)
    result = runner.run(suite)
    if len(sys.argv) > 2:
        path = pathlib.Path(sys.argv[2])
        path.parent.mkdir(parents=True, exist_ok=True)
        ElementTree.ElementTree(result.cases).write(path, encoding="utf-8", xml_declaration=True)
    return 0 if result.wasSuccessful() and result.testsRun > 0 else 1


if __name__ == "__main__":
    # Channels of gRPC that a test left open would keep the interpreter; the results are written.
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
