"""The numbers of a report: intervals, tests, verdicts."""
