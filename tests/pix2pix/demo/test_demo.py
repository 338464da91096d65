"""The page to draw on: what its server translates, and what it refuses; then in a real browser."""

import io
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from browser import chromium, watched  # noqa: F401

from pix2pix.checkpoint import save_generator
from pix2pix.common import web
from pix2pix.config import GeneratorSettings
from pix2pix.data import tasks
from pix2pix.data.labels import paint
from pix2pix.data.procedural import draw, draw_labels
from pix2pix.data.registry import load_registry
from pix2pix.demo.__main__ import _parser, main
from pix2pix.demo.drawing import drawing_of
from pix2pix.demo.models import load_demo
from pix2pix.demo.server import make_demo
from pix2pix.networks import UNetGenerator
from pix2pix.translation import translate

SIDE = 64
ENTRY = load_registry()["procedural"]


def save(path, seed=0, width=4, size=SIDE, depth=5, **origin):
    torch.manual_seed(seed)
    known = {"digest": "x", "dataset": "procedural", "direction": "labels->photo", "seed": 7}
    known |= origin
    channels = (1, 2) if known["direction"] == "L->photo" else (3, 3)
    network = UNetGenerator(*channels, width=width, depth=depth)
    settings = GeneratorSettings(width=width, depth=depth)
    save_generator(path, network, settings, channels=channels, size=(size, size), origin=known)
    return network


@contextmanager
def served(*arguments):
    """The demo of these options on a free port, in a thread; gives its address."""
    import uvicorn

    app = make_demo(load_demo(_parser().parse_args([*map(str, arguments)])))
    with web.listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield web.address(listener)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    networks = [save(folder / f"{name}.pt", seed) for seed, name in enumerate(("a", "b"))]
    return folder, networks


@pytest.fixture(scope="module")
def demo(checkpoints):
    folder, _ = checkpoints
    with served(
        "--checkpoint", f"L1={folder / 'a.pt'}", "--checkpoint", folder / "b.pt"
    ) as address:
        yield address


def picture(response):
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(io.BytesIO(response.content)))


def test_a_drawing_is_translated_as_the_translate_command_does(demo, checkpoints):
    labels = draw_labels("test", 3, SIDE)
    for model, network in enumerate(checkpoints[1]):
        ((_, expected),) = translate(
            network, paint(labels, ENTRY)[None], ["5"], seed=7, device=torch.device("cpu")
        )
        found = requests.post(f"{demo}translate/{model}/5", data=labels.tobytes())
        assert (picture(found) == expected).all()
    other = requests.post(f"{demo}translate/0/6", data=labels.tobytes())
    same = requests.post(f"{demo}translate/0/6", data=labels.tobytes())
    assert other.content == same.content != found.content  # the noise has a number


def test_label_maps_of_the_test_split_and_of_the_user(demo):
    labels = draw_labels("test", 2, SIDE)
    assert requests.get(f"{demo}examples/2").content == labels.tobytes()
    for image in (Image.fromarray(labels), Image.fromarray(paint(labels, ENTRY))):
        big = image.resize((2 * SIDE, 3 * SIDE), Image.Resampling.NEAREST)
        content = io.BytesIO()
        big.save(content, "PNG")
        sent = requests.post(f"{demo}drawing", data=content.getvalue())
        assert sent.content == labels.tobytes()


@pytest.mark.parametrize("role", ["edges", "grey", "L"])
def test_edges_and_greys_are_drawn_or_derived_from_photos(tmp_path, role):
    network = save(tmp_path / "g.pt", direction=f"{role}->photo")
    photo = draw("test", 1, SIDE)[1]
    derived = tasks.derive(role, photo, "0001")
    with served("--checkpoint", tmp_path / "g.pt") as address:
        drawing = requests.get(f"{address}examples/1").content
        assert requests.post(f"{address}drawing", data=png(photo)).content == drawing
        shown = drawing_of(role, ENTRY).colours[np.frombuffer(drawing, np.uint8)]
        difference = np.abs(shown.reshape(SIDE, SIDE, 3) - tasks.picture(derived).astype(int))
        assert difference.max() <= 1  # there is no full black
        found = picture(requests.post(f"{address}translate/0/5", data=drawing))
        ((_, expected),) = translate(
            network, derived[None], ["5"], seed=7, device=torch.device("cpu")
        )
        assert np.abs(found - expected.astype(int)).mean() < 2
        page = requests.get(address).text
        assert ">line<" in page if role == "edges" else ">black<" in page


def png(pixels):
    content = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"", 422, "not an image"),
        (b"GIF89a" + bytes(100), 422, "not an image"),
        (png(np.full((4, 4), 77)), 422, "the value 77, which no class has"),
        (png(np.full((4, 4, 3), (9, 8, 7))), 422, "colour of no class"),
        (png(np.zeros((4, 4)))[:40], 422, "the file"),
        (bytes(9_000_000), 413, "8,000,000 bytes"),
    ],
    ids=["nothing", "no image", "no class", "no colour", "cut off", "huge"],
)
def test_uploads_that_are_no_label_map(demo, content, status, message):
    sent = requests.post(f"{demo}drawing", data=content)
    assert sent.status_code == status
    assert message in sent.json()["error"] and "/tmp" not in sent.text


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("translate/2/0", bytes(SIDE * SIDE), 404),
        ("translate/0/0", bytes(SIDE), 422),
        ("translate/0/0", bytes([12]) * SIDE * SIDE, 422),
        ("translate/0/99999999", bytes(SIDE * SIDE), 404),
        ("translate/-1/0", bytes(SIDE * SIDE), 404),
        ("examples/0", b"", 405),
    ],
)
def test_what_is_no_drawing(demo, path, content, status):
    assert requests.post(demo + path, data=content).status_code == status
    for outside in ("examples/106", "static/../models.py", "static/%2e%2e/models.py"):
        assert requests.get(demo + outside).status_code == 404


@pytest.mark.parametrize(
    ("origin", "options", "message"),
    [
        ({"direction": "photo->labels"}, [], "the page draws label maps with classes, edges"),
        ({"direction": "masked->photo"}, [], "translates masked->photo of procedural"),
        ({"dataset": "mine"}, [], "--datasets"),
        ({"dataset": "folder"}, [], "translates labels->photo of folder"),
        ({}, ["--size", "40"], "multiples of 32"),
        ({}, ["--dataset", "nowhere"], "nowhere"),
        ({}, ["--host", "256.1.1.1"], "--host 256.1.1.1"),
    ],
)
def test_mistakes_end_with_one_line(tmp_path, capsys, origin, options, message):
    save(tmp_path / "g.pt", **origin)
    assert main(["--checkpoint", str(tmp_path / "g.pt"), *options]) == 2
    found = capsys.readouterr().err
    assert found.count("\n") == 1 and message in found


def result(page, model=0):
    """The pixels that the page shows of a translation, once no request is under way."""
    page.wait_for_selector("#rows[aria-busy=false]")
    return page.evaluate("n => document.querySelectorAll('.images canvas')[n].toDataURL()", model)


def test_drawing_changes_every_translation(demo, chromium, tmp_path):  # noqa: F811
    with watched(chromium, demo) as page:
        result(page)
        page.select_option("#example", "3")
        page.wait_for_selector("#undo:enabled")
        before = [result(page, model) for model in (0, 1)]
        page.click("[data-class='2']")
        page.click("#rectangle")
        box = page.locator("#canvas").bounding_box()
        page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.75 * box["width"] - 1, box["y"] + 0.5 * box["height"] - 1)
        page.mouse.up()
        labels = np.array(page.evaluate("[...labels]")).reshape(SIDE, SIDE)
        expected = draw_labels("test", 3, SIDE)
        expected[16:32, 16:48] = 2
        assert (labels == expected).all()
        after = [result(page, model) for model in (0, 1)]
        assert after[0] != before[0] and after[1] != before[1]
        page.click("#undo")
        assert [result(page, model) for model in (0, 1)] == before
        page.click("#noise")
        assert result(page) != before[0]
        page.select_option("#draws", "2")
        first, second = result(page, 0), result(page, 1)
        assert first != second
        with page.expect_download() as download:
            page.click("#save")
        download.value.save_as(tmp_path / "saved.png")
        saved = np.asarray(Image.open(tmp_path / "saved.png").convert("L"))
        titles, pictures = saved[:-SIDE], saved[-SIDE:]
        assert pictures.shape == (SIDE, 5 * SIDE) and len(titles) < SIDE
        assert all((part < 128).any() for part in np.split(titles, 5, axis=1))  # each its name


def test_keys_and_fingers_draw(demo, chromium):  # noqa: F811
    phone = {"viewport": {"width": 400, "height": 800}, "has_touch": True, "is_mobile": True}
    with watched(chromium, demo, **phone) as page:
        page.tap("#fill")
        page.tap("[data-class='1']")
        page.tap("#canvas")
        assert page.evaluate("labels.every((label) => label === 1)")
        page.keyboard.press("3")
        page.keyboard.press("r")
        page.focus("#canvas")
        page.keyboard.press(" ")
        page.keyboard.press("ArrowRight")
        page.keyboard.press(" ")
        labels = np.array(page.evaluate("[...labels]")).reshape(SIDE, SIDE)
        assert (labels == 2).sum() == 3 and (labels[32, 32:35] == 2).all()
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        drawing, shown = (page.locator(s).first.bounding_box() for s in ("#canvas", ".images"))
        assert shown["y"] + shown["height"] - drawing["y"] <= 800  # both fit on the screen


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("size", "depth"), [(128, 7), (256, 8)])
def test_every_stroke_is_answered(tmp_path, chromium, figures, size, depth):  # noqa: F811
    """Twenty strokes with the paper's width on one core; `make study` prints the time from the
    beginning of a stroke to the new picture (docs/performance.md)."""
    save(tmp_path / "g.pt", width=64, size=size, depth=depth)
    with served("--checkpoint", tmp_path / "g.pt") as address:
        spent, waited, pictures = [], [], []
        with watched(chromium, address) as page:
            result(page)
            box = page.locator("#canvas").bounding_box()
            for i in range(20):
                page.mouse.move(box["x"] + 20 + 20 * i, box["y"] + 50)
                busy, began = time.process_time(), time.monotonic()
                page.mouse.down()
                page.mouse.up()
                pictures.append(result(page))
                waited.append(time.monotonic() - began)
                spent.append(time.process_time() - busy)
    assert len(set(pictures)) == 20
    median, most = float(np.median(waited)), max(waited)
    figures.append(
        f"a stroke at {size} pixels: {1000 * median:.0f} ms (at most {1000 * most:.0f}),"
        f" {1000 * np.median(spent):.0f} ms of processor time"
    )
