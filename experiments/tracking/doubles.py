"""Runs that stand twice: a server made one, its answer was lost, the client asked again."""

from __future__ import annotations

from experiments.tracking.store import Run, Store

Identity = tuple[str, str, str]
"""(arm, seed, digest); three empty strings are the suite's own run."""


def identity(run: Run) -> Identity:
    tags = run.data.tags
    return tags.get("arm", ""), tags.get("seed", ""), tags.get("digest", "")


def one_of_each(
    store: Store, experiment_id: str, key: dict[str, str]
) -> tuple[dict[Identity, Run], int]:
    """The runs that carry the tags `key`, one of each identity, and how many more were deleted.

    The last that MLflow names is kept, so that every pass keeps the same one; what it lacks is
    logged again.
    """
    kept: dict[Identity, Run] = {}
    doubles: list[Run] = []
    for run in store.runs(experiment_id, key):
        if identity(run) in kept:
            doubles.append(kept[identity(run)])
        kept[identity(run)] = run
    for run in doubles:
        store.client.delete_run(run.info.run_id)
    return kept, len(doubles)
