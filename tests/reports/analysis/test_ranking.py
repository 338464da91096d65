"""Which arm may stand in bold."""

from suites import PIXEL, arms, suite

from reports.analysis import Analysis

VALUES = {"a": [0.5, 0.51, 0.52, 0.5, 0.51], "b": [0.7, 0.71, 0.72, 0.7, 0.72]}


def test_the_best_arm_of_one_task_alone() -> None:
    assert Analysis(suite(*arms(VALUES))).best_arms == {PIXEL: "b"}
    own = {"name": "b", "changes": {"direction": "grey->photo"}}
    tasks = suite(*arms(VALUES), arms=[{"name": "a", "changes": {}}, own])
    assert tasks.record.several_tasks and Analysis(tasks).best_arms == {}
