"""Whatever a crash leaves of a journal, each step is read once and none is missing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.run.journal import Journal, read_records, replay

SITTING = st.tuples(
    st.integers(1, 12),  # steps of the sitting
    st.integers(1, 5),  # a checkpoint every so many
    st.floats(0, 1),  # how much of what was written since the last checkpoint survives
    st.booleans(),  # whether the newest checkpoint is damaged: the one before it is used
)


@given(sessions=st.lists(SITTING, min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_each_step_and_sample_once_after_any_crashes(tmp_path_factory, sessions):
    """A checkpoint is on the disk after the records before it; what follows may be cut anywhere."""
    journal = Journal(tmp_path_factory.mktemp("journal"))
    kept = [(0, 0)]  # (step, bytes of the journal that are safe by then): the two newest
    reached = 0
    for steps, every, survives, damaged in sessions:
        if damaged and len(kept) > 1:
            kept.pop()
        begin, safe = kept[-1]
        journal.append("start", step=begin)
        journal.append("sample", step=begin, file=f"samples/step-{begin:07d}.png")
        reached = begin
        for step in range(begin + 1, begin + steps + 1):
            journal.append("losses", step=step, values={"g_l1": step / 7})
            if step % every == 0:
                safe = journal.path.stat().st_size
                kept = [*kept, (step, safe)][-2:]
                journal.append("checkpoint", step=step)
            reached = step
        content = journal.path.read_bytes()
        safe = max(size for _, size in kept)
        journal.path.write_bytes(content[: safe + round(survives * (len(content) - safe))])

    begin = kept[-1][0]
    journal.append("start", step=begin)
    journal.append("sample", step=begin, file=f"samples/step-{begin:07d}.png")
    for step in range(begin + 1, reached + 1):
        journal.append("losses", step=step, values={"g_l1": step / 7})
    for _ in range(2):  # killed before the scores, and told again by the sitting that follows
        journal.append("trained", step=reached)
        journal.append("start", step=reached)
    whole = replay(read_records(journal.path))
    assert [r["step"] for r in whole if r["event"] == "trained"] == [reached]
    samples = [r["step"] for r in whole if r["event"] == "sample"]
    assert samples[0] == 0 and samples == sorted(set(samples))
    told = [r for r in whole if r["event"] == "losses"]
    assert [r["step"] for r in told] == list(range(1, reached + 1))
    assert [r["values"]["g_l1"] for r in told] == [r["step"] / 7 for r in told]


@given(steps=st.integers(1, 8), share=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_every_prefix_of_the_bytes_is_a_prefix_of_the_records(tmp_path_factory, steps, share):
    journal = Journal(tmp_path_factory.mktemp("journal"))
    for step in range(steps):
        journal.append("losses", step=step, values={"ä": step}, note='\n"é')
    whole, content = journal.records(), journal.path.read_bytes()
    cut = round(share * len(content))
    journal.path.write_bytes(content[:cut])
    found = journal.records()
    assert found == whole[: len(found)]
    assert len(found) == content[:cut].count(b"\n")
    journal.append("done", seconds=0.0)
    again = journal.records()
    assert again[-1]["event"] == "done" and again[:-1] == whole[: len(again) - 1]
