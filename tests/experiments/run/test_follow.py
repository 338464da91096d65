from planned_jobs import cell_job

from experiments.run.follow import Follower
from experiments.run.journal import Journal


def test_what_is_added_to_a_journal_is_passed_on_once_and_whole(tmp_path):
    job, events = cell_job("a", out=tmp_path), []
    journal = Journal(job.directory)
    journal.append("failed", error="of an earlier day")
    follower = Follower(lambda _, event: events.append(event))
    follower.begin(job)
    assert follower.look(job) == []
    journal.append("data", train=4)
    with open(journal.path, "ab") as file:
        file.write(b'{"event": "losses", "st')  # is being written
    assert [record["event"] for record in follower.look(job)] == ["data"]
    assert [event["event"] for event in events] == ["data", "phase"]
    assert events[1]["total"] == 8
    with open(journal.path, "ab") as file:
        file.write(b'ep": 3}\n')
    assert [record["step"] for record in follower.look(job)] == [3]
    assert follower.look(job) == []


def test_a_journal_that_is_not_there_yet_has_nothing_new(tmp_path):
    follower = Follower(lambda *_: None)
    job = cell_job("a", out=tmp_path)
    follower.begin(job)
    assert follower.look(job) == []
