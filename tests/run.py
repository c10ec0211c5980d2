"""Runs the tests of a directory here, and sums up in a line: "wire: 29 checks, 0 failed".

    pip install -r .ci/requirements.txt
    ROOMCAST_BIN=target/release/roomcast python tests/run.py wire
"""

import pathlib
import sys
import unittest

name = sys.argv[1]
suite = unittest.defaultTestLoader.discover(pathlib.Path(__file__).parent / name)
result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
# A test may have failed in several of its cases.
failed = {getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors}
print(f"{name}: {result.testsRun} checks, {len(failed)} failed")
sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)
