"""Counts kosoku's results; fails on anything that isn't strict."""

import collections
import json
import sys

ALL_CASES = 517
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}


def main() -> int:
    path, selection = sys.argv[1], sys.argv[2]
    try:
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
    except OSError as error:
        print(f"kosoku: no report: {error}", file=sys.stderr)
        return 1
    cases = {case: result for agent in report.values() for case, result in agent.items()}
    counts = collections.Counter()
    bad = []
    for case, result in sorted(cases.items()):
        verdict = (result["behavior"], result["behaviorClose"])
        counts[verdict[0]] += 1
        expected = "INFORMATIONAL" if case in INFORMATIONAL else "OK"
        if verdict != (expected, expected):
            bad.append(f"{case}: {verdict[0]}, closed {verdict[1]}")
    summary = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    print(f"kosoku: {len(cases)} cases: {summary}; {len(bad)} not as they have to be")
    for line in bad:
        print(f"kosoku: {line}", file=sys.stderr)
    if not selection and len(cases) != ALL_CASES:
        print(f"kosoku: {ALL_CASES} cases were expected", file=sys.stderr)
        return 1
    return 1 if bad or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
