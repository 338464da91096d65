"""Every image through every family of scores, in one process or in several.

What an image measures depends on nothing but its files, and results are handed on in the order of
the images, so that the number of workers changes no bit of any score. One thread a process: sums
of floating-point numbers depend on how they are shared out.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eval.families import FamilyScores
from pix2pix.common.errors import ScoringError
from pix2pix.data.decode import read_rgb

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
Measured = dict[str, Any]


class ImageFiles(NamedTuple):
    """One test image: the label map is None where no family needs it."""

    translation: Path
    target: Path
    labels: Path | None


@dataclass(frozen=True)
class ImageMeasurement:
    """One image's files to what each family measures; pickled for the workers."""

    families: Mapping[str, FamilyScores]
    read_labels: Callable[[Path], np.ndarray] | None

    def __call__(self, files: ImageFiles) -> Measured:
        translation, target = read_rgb(files.translation), read_rgb(files.target)
        labels = None
        if self.read_labels is not None and files.labels is not None:
            labels = self.read_labels(files.labels)
        return {
            name: family.measure(translation, target, labels)
            for name, family in self.families.items()
        }


def measure_all(
    images: Sequence[ImageFiles],
    measurement: ImageMeasurement,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Measured]:
    """What each family measures, image by image, in the order of `images`.

    Args:
        workers: processes; 1 measures in this one.
        progress: called with (images done, images in all).

    Raises:
        ScoringError: an image that cannot be scored, or a worker that died.
    """
    workers = min(workers, len(images))
    results = _in_workers(images, measurement, workers) if workers > 1 else None
    waiting: dict[int, Measured] = {}
    due = 0
    for done, (index, measured) in enumerate(results or _here(images, measurement), 1):
        waiting[index] = measured
        while due in waiting:
            yield waiting.pop(due)
            due += 1
        if progress is not None:
            progress(done, len(images))


def _here(
    images: Sequence[ImageFiles], measurement: ImageMeasurement
) -> Iterator[tuple[int, Measured]]:
    with _one_torch_thread(measurement.families):
        for index, files in enumerate(images):
            yield index, measurement(files)


def _in_workers(
    images: Sequence[ImageFiles], measurement: ImageMeasurement, workers: int
) -> Iterator[tuple[int, Measured]]:
    """(index, what was measured) as it comes; every worker has each `workers`-th image."""
    context = multiprocessing.get_context("spawn")  # torch does not survive a fork
    pickled = pickle.dumps(measurement)
    processes, ends = [], {}
    try:
        for first in range(workers):
            receiving, sending = context.Pipe(duplex=False)
            share = [(i, images[i]) for i in range(first, len(images), workers)]
            process = context.Process(target=_work, args=(sending, pickled, share), daemon=True)
            with _single_threaded_children():
                process.start()
            sending.close()  # so that a worker's death ends the pipe
            processes.append(process)
            ends[receiving] = len(share)
        while ends:
            for end in wait(list(ends)):
                assert isinstance(end, Connection)
                try:
                    message = end.recv()
                except EOFError:
                    raise ScoringError(
                        "a worker died, perhaps for want of memory; try fewer --workers"
                    ) from None
                if isinstance(message, Exception):
                    raise message
                yield message
                ends[end] -= 1
                if not ends[end]:
                    del ends[end]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _work(sending: Connection, pickled: bytes, share: list[tuple[int, ImageFiles]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command's own Ctrl-C ends its workers
    measurement = pickle.loads(pickled)
    try:
        with _one_torch_thread(measurement.families):
            for index, files in share:
                sending.send((index, measurement(files)))
    except BrokenPipeError:
        return  # the command is gone
    except Exception as error:
        sending.send(error)


@contextmanager
def _one_torch_thread(families: Mapping[str, FamilyScores]) -> Iterator[None]:
    if set(families) <= {"color", "labels"}:
        yield  # no torch in these
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Libraries read their number of threads when they are loaded, from the environment."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
