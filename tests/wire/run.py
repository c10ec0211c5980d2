"""Runs the tests here, and sums up in a line: "wire: 29 checks, 0 failed".

    pip install protobuf grpcio-tools websockets
    ROOMCAST_BIN=target/release/roomcast python tests/wire/run.py
"""

import pathlib
import sys
import unittest

suite = unittest.defaultTestLoader.discover(pathlib.Path(__file__).parent)
result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
# A test may have failed in several of its cases.
failed = {getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors}
print(f"wire: {result.testsRun} checks, {len(failed)} failed")
sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)
