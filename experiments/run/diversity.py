"""Several translations of each test image, and how much they differ."""

from __future__ import annotations

import numpy as np
import torch

from eval.bootstrap import clip_numbers, mean_intervals
from eval.diversity import NoiseVariance, mean_distance
from eval.lpips import LPIPSDistance, NotMeasured, load_lpips
from eval.results import ScoreResults
from experiments.run.session import Session
from pix2pix.translation import translate

SEEDS = 2**32
"""Between the seeds of two draws: beyond any seed of a cell."""


def add_diversity(
    session: Session, generator: torch.nn.Module, inputs: np.ndarray, seed: int, sheet: ScoreResults
) -> None:
    """Translate each input `draws` times, one image at a time, and add diversity.* to the sheet.

    The first draw is the translation that is scored; no image of the others is kept.
    """
    job, names = session.job, session.data.test.names
    distance: LPIPSDistance | None = None
    try:
        distance = load_lpips(device=job.device)
        if min(session.data.test.pictures.shape[1:3]) < distance.smallest:
            raise NotMeasured(f"LPIPS needs {distance.smallest} pixels per side")
    except NotMeasured as reason:
        distance = None
        sheet.not_measured["diversity.lpips"] = str(reason)
    variance, distances = NoiseVariance(), []
    for index, name in enumerate(names):
        session.stop.check()
        draws = np.stack(
            [
                image
                for draw in range(job.draws)
                for _, image in translate(
                    generator,
                    inputs[index : index + 1],
                    [name],
                    seed=seed + draw * SEEDS,
                    device=session.device,
                )
            ]
        )
        variance.add(draws)
        if distance is not None:
            distances.append(mean_distance(draws, distance))
    try:
        sheet.values["diversity.variance"] = variance.share()
    except ValueError as error:
        sheet.not_measured["diversity.variance"] = str(error)
    if distances:
        column = {"diversity.lpips": np.array(distances)}
        clips = clip_numbers(sheet.names, session.entry.clip) if session.entry.clip else None
        sheet.values["diversity.lpips"] = float(np.mean(distances))
        sheet.per_image |= column
        sheet.intervals |= mean_intervals(column, clips)
    sheet.settings["diversity"] = {"draws": job.draws}
