import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.run.journal import Journal, is_done, last, read_records, replay


def losses(step):
    return {"event": "losses", "step": step, "values": {"g_l1": step / 10}}


def test_records_come_back_in_order(tmp_path):
    journal = Journal(tmp_path)
    journal.append("start", step=0)
    journal.append("losses", step=5, values={"g_l1": 0.5})
    first, second = journal.records()
    assert (first["event"], second["step"]) == ("start", 5)
    assert first["time"] <= second["time"]


def test_nothing_that_is_not_json_is_written(tmp_path):
    with pytest.raises(ValueError):
        Journal(tmp_path).append("losses", step=1, values={"g_l1": float("nan")})
    assert Journal(tmp_path).records() == []


@given(cut=st.integers(0, 400), steps=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_any_prefix_of_a_journal_can_be_read_and_written_on(tmp_path_factory, cut, steps):
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder)
    for step in range(steps):
        journal.append("losses", step=step)
    content = journal.path.read_bytes()[:cut]
    journal.path.write_bytes(content)
    whole = content.count(b"\n")
    assert [r["step"] for r in read_records(journal.path)] == list(range(whole))
    journal.append("done", seconds=1.0)
    records = read_records(journal.path)
    assert [r["event"] for r in records] == ["losses"] * (len(records) - 1) + ["done"]
    # A line that lost nothing but its end of line is whole again.
    assert whole <= len(records) - 1 <= whole + 1
    assert is_done(folder)


@given(sessions=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=6))
@settings(deadline=None)
def test_replay_gives_each_step_once_after_any_crashes(sessions):
    """Every sitting goes on from a checkpoint at or before where the last one died."""
    records, reached = [], 0
    for back, forward in sessions:
        begin = max(0, reached - back)
        records.append({"event": "start", "step": begin})
        reached = begin + forward
        records += [losses(step) for step in range(begin + 1, reached + 1)]
    steps = [r["step"] for r in replay(records) if r["event"] == "losses"]
    assert steps == list(range(1, reached + 1))


def test_replay_keeps_the_newest_of_what_is_recorded_again_at_the_same_step():
    """Killed before the first checkpoint, and between the last step and the saved generator."""
    records = [
        {"event": "start", "step": 0},
        {"event": "sample", "step": 0, "time": 1},
        losses(5),
        {"event": "start", "step": 0},
        {"event": "sample", "step": 0, "time": 2},
        losses(5),
        {"event": "checkpoint", "step": 5},
        {"event": "trained", "step": 5, "seconds": 1},
        {"event": "start", "step": 5},
        {"event": "trained", "step": 5, "seconds": 2},
    ]
    kept = [r for r in replay(records) if r["event"] != "start"]
    assert [r["event"] for r in kept] == ["sample", "losses", "checkpoint", "trained"]
    assert kept[0]["time"] == 2 and kept[-1]["seconds"] == 2


def test_last_is_the_newest():
    records = [losses(1), losses(2), {"event": "done"}]
    assert last(records, "losses")["step"] == 2
    assert last(records, "failed") is None


@pytest.fixture
def file_limit():
    """Sets a limit for every file that this process writes: beyond it a write fails like on a
    full disk, after as much as fits."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 1, 30])
def test_where_nothing_more_fits_the_journal_stays_whole_and_goes_on(tmp_path, file_limit, room):
    journal = Journal(tmp_path)
    journal.append("losses", step=1, values={"g_l1": 0.5})
    whole = journal.path.read_bytes()
    file_limit(len(whole) + room)
    with pytest.raises(OSError, match=r"journal\.jsonl"):
        journal.append("losses", step=2, values={"g_l1": 0.4})
    assert journal.path.read_bytes() == whole
    file_limit(10**6)
    journal.append("losses", step=2, values={"g_l1": 0.4})
    assert [r["step"] for r in journal.records()] == [1, 2]


def test_a_training_that_begins_anew_forgets_that_it_was_trained():
    records = [{"event": "trained", "step": 9}, {"event": "start", "step": 0}]
    assert last(replay(records), "trained") is None
    records[1]["step"] = 9
    assert last(replay(records), "trained") is not None


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"event": "losses"}',
        b'{"event": "losses", "step": "10"}',
        b'{"event": ["done"]}',
        b'{"event": "losses", "step": 1, "seconds_per_step": NaN}',
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_line_is_passed_over_like_a_torn_one(tmp_path, line):
    journal = Journal(tmp_path)
    journal.append("start", step=0)
    with open(journal.path, "ab") as file:
        file.write(line + b"\n")
    journal.append("losses", step=5, values={"g_l1": 0.5})
    assert [record["event"] for record in replay(journal.records())] == ["start", "losses"]
