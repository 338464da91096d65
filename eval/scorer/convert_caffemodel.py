"""Convert the published Cityscapes scorer from Caffe to safetensors.

The network is that of pix2pix's `scripts/eval_cityscapes/caffemodel/deploy.prototxt`. Caffe's
layouts are PyTorch's: a convolution is a cross-correlation with weights (outputs, inputs, k, k), a
deconvolution has (inputs, outputs / groups, k, k), and the published ones have one group and no
bias. So weights are checked and renamed, never rearranged.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eval.scorer import cityscapes
from eval.scorer.caffemodel import CaffeLayer, CaffeModel, read_caffemodel, shape_text
from eval.scorer.fcn8s import STAGES, FCN8s
from eval.scorer.file import save_scorer
from pix2pix.common.errors import ScoringError

# The deploy.prototxt's layers with weights, and where FCN8s keeps them.
MODULES = {
    f"conv{stage}_{i + 1}": f"stages.{stage - 1}.{2 * i}"
    for stage, (_, convolutions) in enumerate(STAGES, start=1)
    for i in range(convolutions)
} | {
    "fc6_cs": "fc6.0",
    "fc7_cs": "fc7.0",
    "score_fr": "score_fr",
    "upscore2": "upscore2",
    "score_pool4": "score_pool4",
    "upscore_pool4": "upscore_pool4",
    "score_pool3": "score_pool3",
    "upscore8": "upscore8",
}
ALIASES = {"fc6": "fc6_cs", "fc7": "fc7_cs"}  # what other FCN-8s files call them
NAMED = 3  # layers that an error lists


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert a file; exit status 0, or 2 with one line where it does not fit."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.scorer.convert_caffemodel", description=__doc__
    )
    parser.add_argument("caffemodel", type=Path, help="the published fcn-8s-cityscapes.caffemodel")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.safetensors")
    options = parser.parse_args(arguments)
    try:
        print(convert(options.caffemodel, options.out))
    except ScoringError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return 130
    return 0


def convert(caffemodel: Path, out: Path) -> str:
    """Write the published scorer as safetensors, whole or not at all; say what was done.

    Raises:
        ScoringError: `read_caffemodel`'s, or a layer that is missing, extra or of another shape.
        OSError: a file cannot be read or written.
    """
    if out.is_dir() or out.resolve() == caffemodel.resolve():
        raise ScoringError(f"{out}: must be the name of a new file")
    source = read_caffemodel(caffemodel)
    model = fcn8s_from_caffe(source, caffemodel, cityscapes.WIDTH, cityscapes.OUTPUTS)
    save_scorer(
        out,
        model,
        settings={"protocol": cityscapes.PROTOCOL},
        class_names=cityscapes.CLASS_NAMES,
        source={"caffemodel_sha256": source.sha256, "file": caffemodel.name},
    )
    weights = sum(parameter.numel() for parameter in model.parameters())
    return (
        f"read: {caffemodel} ({source.size / 2**20:.1f} MiB, sha256 {source.sha256})\n"
        f"{len(MODULES)} layers with {weights:,} weights, every shape as published\n"
        f"written: {out}"
    )


def fcn8s_from_caffe(source: CaffeModel, path: Path, width: int, classes: int) -> FCN8s:
    """The published network, of some width, with a caffemodel's weights.

    Args:
        source: from `read_caffemodel`.
        path: named in errors.
        width, classes: those of FCN8s; 64 and 20 are published.

    Returns:
        The network in evaluation mode, on the CPU.

    Raises:
        ScoringError: a layer is missing, extra, there twice, or of another type or shape.
    """
    layers = _layers_by_name(source, path)
    with torch.device("meta"):  # no memory, and no random start, for what is replaced at once
        model = FCN8s(classes, width)
    state = model.state_dict()
    for name, module in MODULES.items():
        parameters = [key for key in (f"{module}.weight", f"{module}.bias") if key in state]
        blobs = _checked_blobs(layers[name], [state[key].shape for key in parameters], path)
        state.update(zip(parameters, blobs, strict=True))
    model.load_state_dict(state, assign=True)
    return model.eval()


def _layers_by_name(source: CaffeModel, path: Path) -> dict[str, CaffeLayer]:
    """The layers with weights by the deploy.prototxt's names; exactly those of MODULES."""
    layers: dict[str, CaffeLayer] = {}
    for layer in source.layers:
        if layer.blobs:
            name = ALIASES.get(layer.name, layer.name)
            if name in layers:
                raise ScoringError(f"{path}: two layers are named {name}")
            layers[name] = layer
    for names, complaint in (
        (MODULES.keys() - layers.keys(), "lacks"),
        (layers.keys() - MODULES.keys(), "has weights that the published network lacks:"),
    ):
        if names:
            first = ", ".join(sorted(names)[:NAMED]) + (", …" if len(names) > NAMED else "")
            raise ScoringError(f"{path}: not the published FCN-8s: {complaint} {first}")
    return layers


def _checked_blobs(layer: CaffeLayer, shapes: list[torch.Size], path: Path) -> list[Tensor]:
    """The layer's weights, and bias if it has one, in the expected shapes."""
    where = f"{path}: layer {layer.name}"
    types = ("Deconvolution",) if "upscore" in layer.name else ("Convolution", "InnerProduct")
    if layer.type not in types:
        raise ScoringError(f"{where}: must be {' or '.join(types)} (got {layer.type or 'no type'})")
    if len(layer.blobs) != len(shapes):
        wanted = "weights and bias" if len(shapes) == 2 else "weights without bias"
        raise ScoringError(f"{where}: must have {wanted} (got {len(layer.blobs)} blobs)")
    for blob, shape, what in zip(layer.blobs, shapes, ("weights", "bias"), strict=False):
        if not _fits(blob, tuple(shape), layer.type):
            raise ScoringError(
                f"{where}: {what} must be {shape_text(shape)} (got {shape_text(blob.shape)})"
            )
    return [
        torch.from_numpy(blob.reshape(shape))
        for blob, shape in zip(layer.blobs, shapes, strict=True)
    ]


def _fits(blob: np.ndarray, shape: tuple[int, ...], layer_type: str) -> bool:
    """Whether the blob has this shape, as it is or with ones before it (blobs once had four axes).

    The weights of an InnerProduct are (outputs, inputs · k · k): a convolution's, flattened.
    """
    if layer_type == "InnerProduct" and len(shape) > 1:
        shape = (shape[0], int(np.prod(shape[1:])))
    return blob.shape in (shape, (1,) * (4 - len(shape)) + shape)


if __name__ == "__main__":
    sys.exit(main())
