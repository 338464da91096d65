"""Memory and time of the published Cityscapes scorer at full width, from caffemodel to labels.

    python benchmarks/published_scorer.py [--threads 2] [--images 1] [--folder DIR]

Writes a caffemodel of random weights with the published file's layers, shapes and size (513 MiB),
converts it, loads the result and segments noise, each step in a process of its own. Needs 1.1 GB
of free space in the folder, by default the system's temporary one, and leaves nothing there.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
STEPS = ("write", "convert", "load", "segment")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step is not None:
        return run(options.step, options.folder, options.images)
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for step in STEPS:
            command = [sys.executable, __file__, "--step", step, "--folder", folder]
            command += ["--images", str(options.images)]
            subprocess.run(command, env=environment, check=True)


def run(step: str, folder: Path, images: int) -> None:
    """One step in this process; prints its seconds and the process's peak memory."""
    caffemodel, scorer = folder / "random.caffemodel", folder / "random.safetensors"
    started, note = time.perf_counter(), ""
    if step == "write":
        write_caffemodel(caffemodel)
        note = f"{caffemodel.stat().st_size / 2**20:.1f} MiB"
    elif step == "convert":
        from eval.scorer.convert_caffemodel import convert

        started = time.perf_counter()
        note = convert(caffemodel, scorer).splitlines()[1]
    else:
        from eval.scorer.cityscapes import load_published_scorer, segment_published

        started = time.perf_counter()
        model = load_published_scorer(scorer)
        if step == "segment":
            started = time.perf_counter()
            for seed in range(images):
                noise = np.random.default_rng(seed).integers(0, 256, (256, 256, 3), np.uint8)
                classes = segment_published(model, noise)
            note = f"{images} images, {len(np.unique(classes))} classes in the last"
    seconds = time.perf_counter() - started
    cpu = time.process_time()  # with the imports; says more than seconds on a busy machine
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{step:8} {seconds:6.1f} s  {cpu:6.1f} s of CPU  peak {peak:.2f} GiB  {note}", flush=True
    )


def write_caffemodel(path: Path) -> None:
    """He-sized random weights under deploy.prototxt's names, as Caffe writes them (V2, packed)."""
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = 3
    for stage, (outputs, count) in enumerate(STAGES, start=1):
        for i in range(1, count + 1):
            shapes[f"conv{stage}_{i}"] = (outputs, inputs, 3, 3)
            inputs = outputs
    shapes |= {"fc6_cs": (4096, 512, 7, 7), "fc7_cs": (4096, 4096, 1, 1)}
    shapes |= {"score_fr": (20, 4096, 1, 1), "upscore2": (20, 20, 4, 4)}
    shapes |= {"score_pool4": (20, 512, 1, 1), "upscore_pool4": (20, 20, 4, 4)}
    shapes |= {"score_pool3": (20, 256, 1, 1), "upscore8": (20, 20, 16, 16)}
    generator = np.random.default_rng(0)
    with open(path, "wb") as file:
        for name, shape in shapes.items():
            kind = b"Deconvolution" if "upscore" in name else b"Convolution"
            spread = np.float32(np.sqrt(2 / np.prod(shape[1:])))
            blobs = [blob(generator.standard_normal(shape, np.float32) * spread)]
            if kind == b"Convolution":
                blobs.append(blob(np.zeros(shape[0], np.float32)))
            content = field(1, name.encode()) + field(2, kind)
            file.write(field(100, content + b"".join(field(7, one) for one in blobs)))


def blob(values: np.ndarray) -> bytes:
    return field(7, field(1, b"".join(map(varint, values.shape)))) + field(5, values.tobytes())


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    encoded = b""
    while value > 127:
        encoded += bytes([value & 127 | 128])
        value >>= 7
    return encoded + bytes([value])


if __name__ == "__main__":
    main()
