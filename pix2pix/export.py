"""`python -m pix2pix.export`: a generator as an ONNX file, checked against torch."""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib
import importlib.metadata
import io
import json
import logging
import os
import secrets
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pix2pix.common.errors import UserError, exit_status, printable
from pix2pix.common.files import file_sha256, home_path, image_size, make_folder
from pix2pix.generator_files import SavedGenerator, open_generator
from pix2pix.networks import AlwaysDropout, Down, Up, normalise_each_image
from pix2pix.translation import noise_seed

TOLERANCE = 1e-4
"""The largest difference from torch, of values in [-1, 1], with which a file is written."""
CHECKED = 20
"""Inputs on which it is measured, each with noise of its own."""
METADATA = "pix2pix"
"""The key of the metadata, a JSON text."""
OPSET = 18
FIXED_NAME = "0"
"""The name of the image whose noise a file with fixed noise has."""
_HELP = """\
The file takes `image`, (1, C, H, W) float32 in [-1, 1], and gives `translation` in [-1, 1].
BatchNorm uses the image's own statistics, as the paper tests (with --protocol port-eval: the
running ones, and no dropout).

noise:
  input  the file also takes noise0, noise1, ...: what dropout multiplies by. Draw each value: 0
         with the probability that the metadata name (0.5), otherwise 1 / (1 - probability)
  fixed  the noise of one draw (--seed) is part of the file, which then has no other input

Everything is in the metadata of the file, key "pix2pix". A file is written only if it agrees with
torch within 1e-4 on 20 inputs. Exit status: 0 written, 2 bad input, 130 interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    return exit_status(lambda: export(options), "interrupted: nothing was written")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pix2pix.export",
        description="Write a generator as a file that runs without this project.",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    files = "generator.pt, or latest_net_G.pth of the PyTorch port"
    add("--checkpoint", type=home_path, required=True, metavar="FILE", help=files)
    add("--format", choices=("onnx",), default="onnx", help="default: %(default)s")
    add("--out", type=home_path, metavar="FILE", help="default: beside the checkpoint")
    add("--noise", choices=("input", "fixed"), default="input", help="default: input; see below")
    add("--seed", type=int, metavar="N", help="of fixed noise; default: the cell's own, or 0")
    add("--size", type=image_size, metavar="HxW", help="of the images; default: as trained")
    protocols = ("paper", "port-eval")
    add("--protocol", choices=protocols, default="paper", help="default: %(default)s; see below")
    return parser


def export(options: argparse.Namespace) -> None:
    """Write the file that the options ask for; UserError where it cannot be or does not agree."""
    _need_onnx()
    saved = open_generator(options.checkpoint, options.protocol)
    if getattr(saved.network, "noise", 0):
        raise UserError(f"{options.checkpoint}: draws a vector z at its input; not exported")
    size = options.size or saved.size
    if any(side % saved.multiple for side in size):
        raise UserError(
            f"--size {size[0]}x{size[1]}: sides must be multiples of {saved.multiple} for"
            f" {options.checkpoint}"
        )
    seed = saved.seed if options.seed is None else options.seed
    exportable = Exportable(saved.network, (saved.channels[0], *size))
    example = [torch.zeros(1, saved.channels[0], *size)]
    if options.noise == "fixed":
        exportable.fixed = draw_noise(exportable.noise, seed, FIXED_NAME)
    else:
        example += draw_noise(exportable.noise, seed, FIXED_NAME)
    metadata = _metadata(options, saved, size, seed, exportable)
    out = options.out or options.checkpoint.with_suffix(".onnx")
    if out.exists():
        raise UserError(f"--out {out}: exists already; name another file or delete it")
    make_folder(out.absolute().parent)
    beside = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        with _quiet():
            write_onnx(exportable, tuple(example), beside, json.dumps(metadata))
        difference = check(beside, saved, size, options.noise, seed)
        if not difference <= TOLERANCE:
            raise UserError(
                f"{options.checkpoint}: the exported network differs from torch by up to"
                f" {difference:.1e}, more than {TOLERANCE:.0e}; nothing was written"
            )
        os.replace(beside, out)
    finally:
        beside.unlink(missing_ok=True)
    print(f"{options.checkpoint}: {saved.description}")
    print(
        f"{out}: differs from torch by at most {difference:.1e} over {CHECKED} inputs"
        + (f"; noise inputs {len(exportable.noise)}" if options.noise == "input" else "")
    )


@dataclass(frozen=True)
class NoiseInput:
    """What one dropout layer multiplies by."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """The memory layout, which decides where torch's dropout falls."""
    probability: float


class Exportable(nn.Module):
    """A generator whose noise is given, for one image.

    BatchNorm over the one image is written as InstanceNormalization, which every runtime has;
    small layers are written as the convolutions that they are.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.noise = noise_inputs(network, shape)
        self.fixed: list[Tensor] = []
        """Masks that are part of the network; empty if they are inputs."""
        self.network = copy.deepcopy(network).eval()
        normalise_each_image(self.network)
        for module in list(self.network.modules()):
            if isinstance(module, Down | Up):
                module.products = False
        self._given: list[GivenDropout] = []
        for module in list(self.network.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, AlwaysDropout):
                    given = GivenDropout()
                    self._given.append(given)
                    setattr(module, name, given)

    def forward(self, image: Tensor, *noise: Tensor) -> Tensor:
        for layer, mask in zip(self._given, self.fixed or noise, strict=True):
            layer.mask = mask
        return self.network(image)


class GivenDropout(nn.Module):
    """Dropout by a mask of 0 and 1 / (1 - probability)."""

    mask: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask


def noise_inputs(network: nn.Module, shape: tuple[int, int, int]) -> list[NoiseInput]:
    """What dropout needs for one image of shape (C, H, W), in the order of the layers."""
    found: list[NoiseInput] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, AlwaysDropout)
        found.append(NoiseInput((*inputs[0].shape,), inputs[0].stride(), module.probability))

    layers = [module for module in network.modules() if isinstance(module, AlwaysDropout)]
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            network(torch.zeros(1, *shape))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def draw_noise(inputs: Sequence[NoiseInput], seed: int, name: str) -> list[Tensor]:
    """The masks with which `pix2pix.translate` translates the image `name` on a CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(noise_seed(seed, name))
        return [
            nn.functional.dropout(
                torch.empty_strided(one.shape, one.strides).fill_(1.0), one.probability
            ).contiguous()
            for one in inputs
        ]


def check(path: Path, saved: SavedGenerator, size: tuple[int, int], noise: str, seed: int) -> float:
    """The largest difference between a written file and the network, over CHECKED random images
    of [-1, 1], each with noise of its own where noise is an input."""
    run = _session_runner(_session(path))
    shape = (saved.channels[0], *size)
    inputs = noise_inputs(saved.network, shape)
    random, largest = torch.Generator().manual_seed(0), 0.0
    for number in range(CHECKED):
        image = 2 * torch.rand(1, *shape, generator=random) - 1
        name = FIXED_NAME if noise == "fixed" else str(number)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(noise_seed(seed, name))
            expected = saved.network(image).numpy()
        masks = [] if noise == "fixed" else draw_noise(inputs, seed, name)
        found = run([image.numpy(), *(mask.numpy() for mask in masks)])
        largest = max(largest, float(np.abs(found - expected).max()))
    return largest


def _session_runner(session: Any) -> Callable[[list[np.ndarray]], np.ndarray]:
    names = [one.name for one in session.get_inputs()]
    return lambda arrays: session.run(None, dict(zip(names, arrays, strict=True)))[0]


def open_exported(path: Path) -> SavedGenerator:
    """An exported ONNX file as a generator; `translate` draws its noise from torch's generator.

    Raises UserError if it is no such file, or was not written by this command.
    """
    _need_onnx()
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    session = _session(path)
    try:
        known = json.loads(session.get_modelmeta().custom_metadata_map[METADATA])
        masks = [
            NoiseInput((*one.shape,), torch.empty(one.shape).stride(), known["dropout"])
            for one in session.get_inputs()[1:]
        ]
        height, width = map(int, known["size"])
        inputs, outputs = map(int, known["channels"])
        found = SavedGenerator(
            OnnxNetwork(_session_runner(session), masks),
            printable(str(known["description"])),
            (inputs, outputs),
            1,
            int(known["seed"]),
            dataset=str(known["dataset"]),
            direction=str(known["direction"]),
            size=(height, width),
        )
    except (ValueError, LookupError, TypeError, RuntimeError):
        raise UserError(f"{path}: is an ONNX file that pix2pix.export did not write") from None
    return found


class OnnxNetwork(nn.Module):
    """An ONNX session as a network of one image; its noise comes from torch's generator, so that it
    translates as the generator that it was exported from."""

    def __init__(
        self, run: Callable[[list[np.ndarray]], np.ndarray], masks: list[NoiseInput]
    ) -> None:
        super().__init__()
        self._run = run
        self._masks = masks

    def forward(self, image: Tensor) -> Tensor:
        """(1, C, H, W) float32 in [-1, 1] to (1, C', H, W)."""
        masks = [nn.functional.dropout(torch.ones(m.shape), m.probability) for m in self._masks]
        arrays = [image.cpu().numpy(), *(mask.numpy() for mask in masks)]
        return torch.from_numpy(self._run(arrays)).to(image.device)


def _session(path: Path) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own exceptions, of several kinds
        raise UserError(f"{path}: not an ONNX file that runs: {str(error)[:160]}") from None


def write_onnx(network: Exportable, example: tuple[Tensor, ...], path: Path, metadata: str) -> None:
    """Write the network, with `metadata`, to a new file."""
    import onnx

    names = ["image", *(f"noise{i}" for i in range(len(example) - 1))]
    program = torch.onnx.export(
        network,
        example,
        input_names=names,
        output_names=["translation"],
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, {METADATA: metadata})
    onnx.save_model(model, str(path))


def _metadata(
    options: argparse.Namespace,
    saved: SavedGenerator,
    size: tuple[int, int],
    seed: int,
    exportable: Exportable,
) -> dict[str, Any]:
    frozen = options.protocol == "port-eval"
    return {
        "description": saved.description,
        "checkpoint_sha256": file_sha256(options.checkpoint),
        "dataset": saved.dataset,
        "direction": saved.direction,
        "channels": saved.channels,
        "size": size,
        "seed": seed,
        "batch_norm": "running statistics" if frozen else "the image's own statistics",
        "noise": options.noise if exportable.noise else "none",
        "dropout": exportable.noise[0].probability if exportable.noise else 0.0,
        "versions": {name: importlib.metadata.version(name) for name in ("torch",)},
    }


def _need_onnx() -> None:
    for module in ("onnx", "onnxruntime", "onnxscript"):
        try:
            importlib.import_module(module)
        except ModuleNotFoundError:
            raise UserError(f"{module} is not installed: pip install -e '.[onnx]'") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on its own ways."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


if __name__ == "__main__":
    sys.exit(main())
