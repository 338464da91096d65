"""Decoded pairs: the arrays, the cache, the fingerprint, several processes at once."""

import hashlib
import json
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pix2pix.common.errors import UserError
from pix2pix.data import cache as caching
from pix2pix.data import procedural
from pix2pix.data.cache import (
    arrived,
    cached,
    check_source,
    labelled_parts,
    prepare,
)
from pix2pix.data.layouts import listing_digests
from pix2pix.data.registry import load_registry

SIZE = (8, 12)
REGISTRY = load_registry()


def _camvid(root: Path, train: int = 3, val: int = 2) -> Path:
    generator = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        (root / "camvid" / split).mkdir(parents=True)
        (root / "camvid" / f"{split}annot").mkdir()
        for index in range(count):
            photo = generator.integers(0, 256, (16, 24, 3), dtype=np.uint8)
            labels = generator.integers(0, 12, (16, 24), dtype=np.uint8)
            Image.fromarray(photo).save(root / "camvid" / split / f"{index}.png")
            Image.fromarray(labels).save(root / "camvid" / f"{split}annot" / f"{index}.png")
    for kind in ("", "annot"):
        shutil.copytree(root / f"camvid/val{kind}", root / f"camvid/test{kind}")
    return root


@pytest.fixture
def camvid(tmp_path) -> Path:
    return _camvid(tmp_path / "data")


def test_the_three_splits(camvid, tmp_path) -> None:
    data = prepare(REGISTRY["camvid"], camvid, SIZE, None, tmp_path / "cache")
    assert data.train.inputs.shape == data.train.targets.shape == (3, *SIZE, 3)
    assert data.train.labels.shape == (3, *SIZE)
    assert data.train.inputs.dtype == data.train.labels.dtype == np.uint8
    assert (data.train.names, data.test.names) == (("0", "1", "2"), ("0", "1"))
    np.testing.assert_array_equal(data.val.targets, data.test.targets)
    assert isinstance(data.train.inputs, np.memmap)  # shared by processes
    assert data.palette.shape == (11, 3)
    assert data.class_names[:2] == ("sky", "building")
    painted = np.vstack([data.palette, [[0, 0, 0]]])[np.minimum(data.train.labels, 11)]
    np.testing.assert_array_equal(data.train.inputs, painted)


def test_the_other_direction_swaps_and_keeps_the_fingerprint(camvid, tmp_path) -> None:
    there = prepare(REGISTRY["camvid"], camvid, SIZE, "labels->photo", tmp_path)
    back = prepare(REGISTRY["camvid"], camvid, SIZE, "photo->labels", tmp_path)
    np.testing.assert_array_equal(there.train.inputs, back.train.targets)
    np.testing.assert_array_equal(there.train.labels, back.train.labels)
    assert there.fingerprint == back.fingerprint
    assert len([p for p in tmp_path.iterdir() if p.name.startswith("camvid-8x12-")]) == 1


def test_the_fingerprint_is_of_the_pixels(camvid, tmp_path) -> None:
    entry = REGISTRY["camvid"]
    first = prepare(entry, camvid, SIZE, None, tmp_path / "cache").fingerprint
    moved = tmp_path / "moved"
    shutil.copytree(camvid, moved)  # another place, other times
    assert prepare(entry, moved, SIZE, None, tmp_path / "other").fingerprint == first
    assert prepare(entry, camvid, (8, 8), None, tmp_path / "cache").fingerprint != first
    photo = np.asarray(Image.open(moved / "camvid/val/1.png")).copy()
    photo[0, 0, 0] ^= 255
    Image.fromarray(photo).save(moved / "camvid/val/1.png")
    assert prepare(entry, moved, (16, 24), None, tmp_path / "a").fingerprint != (
        prepare(entry, camvid, (16, 24), None, tmp_path / "b").fingerprint
    )


def test_the_cached_fingerprint_is_of_exactly_these_files(camvid, tmp_path) -> None:
    entry, cache = REGISTRY["camvid"], tmp_path / "cache"
    assert cached(entry, camvid, SIZE, cache) is None
    made = prepare(entry, camvid, SIZE, None, cache).fingerprint
    counts = {"train": 3, "val": 2, "test": 2}
    assert cached(entry, camvid, SIZE, cache) == (made, counts)
    assert cached(entry, camvid, (4, 4), cache) is None
    os.utime(camvid / "camvid/train/0.png", ns=(1, 1))
    assert cached(entry, camvid, SIZE, cache) is None
    assert prepare(entry, camvid, SIZE, None, cache).fingerprint == made
    assert cached(entry, tmp_path / "none", SIZE, cache) is None


def test_the_second_opening_decodes_nothing(camvid, tmp_path) -> None:
    calls = []
    for _ in range(2):
        prepare(
            *(REGISTRY["camvid"], camvid, SIZE, None, tmp_path),
            progress=lambda done, total: calls.append((done, total)),
        )
    assert calls == [(n, 7) for n in range(1, 8)]


@pytest.mark.parametrize("direction", [None, "photo->labels", "grey->photo"])
def test_a_folder_that_came_from_another_machine_is_the_same_data(
    camvid, tmp_path, direction
) -> None:
    here = prepare(REGISTRY["camvid"], camvid, SIZE, direction, tmp_path / "cache")
    (meta,) = (tmp_path / "cache").glob("camvid-8x12-????????????/meta.json")
    place = meta.parent
    shutil.copytree(place, tmp_path / "there" / place.name)
    shutil.rmtree(camvid)
    there = arrived(REGISTRY["camvid"], direction, tmp_path / "there" / place.name)
    assert (there.fingerprint, there.class_names) == (here.fingerprint, here.class_names)
    for split in ("train", "val", "test"):
        one, other = getattr(here, split), getattr(there, split)
        assert (one.names, one.shown) == (other.names, other.shown)
        for images in ("inputs", "targets", "pictures", "labels"):
            np.testing.assert_array_equal(getattr(one, images), getattr(other, images))


def test_a_broken_cache_is_made_again(camvid, tmp_path) -> None:
    entry = REGISTRY["camvid"]
    made = prepare(entry, camvid, SIZE, None, tmp_path)
    targets = np.array(made.train.targets)
    (place,) = tmp_path.glob("camvid-8x12-*")
    (place / "train-photo.npy").write_bytes(b"cut off")
    again = prepare(entry, camvid, SIZE, None, tmp_path)
    np.testing.assert_array_equal(again.train.targets, targets)
    (place / "meta.json").write_text("{", encoding="utf-8")
    assert prepare(entry, camvid, SIZE, None, tmp_path).fingerprint == made.fingerprint


def test_what_a_killed_process_left_is_in_nobodys_way(camvid, tmp_path) -> None:
    source = caching.find_source(REGISTRY["camvid"], camvid, SIZE)
    place = caching.folder(source, tmp_path)
    left = place.with_name(f".{place.name}.part")
    left.mkdir()
    (left / "train-photo.npy").write_bytes(b"half")
    assert len(prepare(REGISTRY["camvid"], camvid, SIZE, None, tmp_path).train) == 3
    assert not left.exists()


def _prepare_and_count(root: Path, cache: Path, results) -> None:
    calls = []
    data = prepare(
        *(REGISTRY["camvid"], root, SIZE, None, cache),
        progress=lambda done, total: (calls.append(done), time.sleep(0.02)),
    )
    results.put((len(calls), data.fingerprint))


def test_several_processes_decode_once(camvid, tmp_path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [
        context.Process(target=_prepare_and_count, args=(camvid, tmp_path / "cache", results))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    found = [results.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(count for count, _ in found) == [0, 0, 7]
    assert len({fingerprint for _, fingerprint in found}) == 1


def test_an_error_leaves_nothing_behind(camvid, tmp_path) -> None:
    wrong = np.full((16, 24), 77, np.uint8)
    Image.fromarray(wrong).save(camvid / "camvid/valannot/1.png")
    check_source(REGISTRY["camvid"], camvid)
    with pytest.raises(UserError, match=r"valannot/1\.png: has the value 77"):
        prepare(REGISTRY["camvid"], camvid, SIZE, None, tmp_path / "cache")
    assert not [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]


def test_check_source_opens_every_header(camvid) -> None:
    entry = REGISTRY["camvid"]
    check_source(entry, camvid, "photo->labels")
    with pytest.raises(UserError, match="no direction"):
        check_source(entry, camvid, "photo->depth")
    Image.fromarray(np.zeros((16, 24, 4), np.uint8)).save(camvid / "camvid/train/2.png")
    with pytest.raises(UserError, match=r"train/2\.png: has transparent pixels"):
        check_source(entry, camvid)
    Image.fromarray(np.zeros((16, 22, 3), np.uint8)).save(camvid / "camvid/train/2.png")
    with pytest.raises(UserError, match="must have one size"):
        check_source(entry, camvid)


def test_one_folder_for_val_and_test_is_said(tmp_path) -> None:
    for side in "AB":
        for split, names in (("train", "12"), ("test", "3")):
            (tmp_path / side / split).mkdir(parents=True)
            for name in names:
                Image.new("RGB", (8, 8)).save(tmp_path / side / split / f"{name}.png")
    told = ["taken: the folders A and B", "val and test are the same images"]
    assert check_source(REGISTRY["folder"], tmp_path) == told
    for side in "AB":
        shutil.copytree(tmp_path / side / "test", tmp_path / side / "val")
    assert check_source(REGISTRY["folder"], tmp_path) == told[:1]


def test_files_replaced_with_the_size_and_time_of_the_old_ones_are_decoded(
    camvid, tmp_path
) -> None:
    entry, cache = REGISTRY["camvid"], tmp_path / "cache"
    labels = camvid / "camvid/trainannot/1.png"
    Image.fromarray(np.zeros((16, 24), np.uint8)).save(labels, compress_level=0)
    before, times = prepare(entry, camvid, SIZE, None, cache), labels.stat()
    Image.fromarray(np.ones((16, 24), np.uint8)).save(labels, compress_level=0)
    os.utime(labels, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert labels.stat().st_size == times.st_size
    assert cached(entry, camvid, SIZE, cache) is None
    after = prepare(entry, camvid, SIZE, None, cache)
    assert after.fingerprint != before.fingerprint
    assert cached(entry, camvid, SIZE, cache)[0] == after.fingerprint
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1


def test_a_cache_without_times_is_used_as_it_is(camvid, tmp_path) -> None:
    entry, cache = REGISTRY["camvid"], tmp_path / "cache"
    prepare(entry, camvid, SIZE, None, cache)
    (meta,) = cache.glob("*/meta.json")
    content = json.loads(meta.read_bytes())
    del content["changed"]
    meta.write_text(json.dumps(content))
    assert cached(entry, camvid, SIZE, cache)[0] == content["fingerprint"]


def test_a_cache_that_cannot_be_written(camvid, tmp_path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(UserError, match=r"file/cache: .* cannot be written: Not a directory"):
        prepare(REGISTRY["camvid"], camvid, SIZE, None, tmp_path / "file" / "cache")


def test_a_full_disk_is_one_line(camvid, tmp_path) -> None:
    with pytest.raises(UserError, match=r"images need \d+\.\d GB, .* are free"):
        prepare(REGISTRY["camvid"], camvid, (300_000, 300_000), None, tmp_path)
    with pytest.raises(UserError, match="size: must be height and width"):
        prepare(REGISTRY["camvid"], camvid, (0, 8), None, tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_disk_that_fills_while_writing_is_an_error_not_a_crash(tmp_path) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    for side in "AB":
        (tmp_path / side).mkdir()
        for index in range(3):
            shutil.copy(tmp_path / "a.png", tmp_path / side / f"{index}.png")
    source = caching.find_source(REGISTRY["folder"], tmp_path, (512, 512))
    (tmp_path / "train-A.npy").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        caching._write_split(source, "train", tmp_path, lambda: None)


def test_pairs_of_photos_have_no_labels(tmp_path) -> None:
    generator = np.random.default_rng(0)
    for side in "AB":
        (tmp_path / side).mkdir()
        for index in range(4):
            image = generator.integers(0, 256, (8, 12, 3), dtype=np.uint8)
            Image.fromarray(image).save(tmp_path / side / f"{index}.png")
    data = prepare(REGISTRY["folder"], tmp_path, SIZE, "B->A", tmp_path / "cache")
    assert (data.train.labels, data.palette, data.class_names) == (None, None, ())
    assert (data.test.names, data.val.names, data.train.names) == (("0",), ("1",), ("2", "3"))
    first = np.asarray(Image.open(tmp_path / "B/0.png"))
    np.testing.assert_array_equal(data.test.inputs[0], first)


def test_the_embedded_set_is_drawn(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(procedural, "COUNTS", {"train": 2, "val": 1, "test": 1})
    entry = REGISTRY["procedural"]
    check_source(entry, tmp_path)
    data = prepare(entry, tmp_path, (32, 32), None, tmp_path / "cache")
    labels, photo = procedural.draw("train", 1, 32)
    np.testing.assert_array_equal(data.train.labels[1], labels)
    np.testing.assert_array_equal(data.train.targets[1], photo)
    np.testing.assert_array_equal(data.train.inputs[1], data.palette[labels])
    assert data.test.names == ("0000",)
    assert cached(entry, tmp_path, (32, 32), tmp_path / "cache")[1]["train"] == 2
    with pytest.raises(UserError, match=r"drawn in squares only \(got 32×64\)"):
        prepare(entry, tmp_path, (32, 64), None, tmp_path / "cache")


def test_meta_says_what_the_cache_is(camvid, tmp_path) -> None:
    prepare(REGISTRY["camvid"], camvid, SIZE, None, tmp_path)
    (place,) = tmp_path.glob("camvid-8x12-*")
    meta = json.loads((place / "meta.json").read_text(encoding="utf-8"))
    assert (meta["name"], meta["size"], meta["format"]) == ("camvid", [8, 12], caching.FORMAT)
    assert sorted(meta["bytes"]) == sorted(p.name for p in place.glob("*.npy"))


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("PIX2PIX_CAMVID"), reason="PIX2PIX_CAMVID names no folder")
def test_the_real_camvid(tmp_path) -> None:
    root = Path(os.environ["PIX2PIX_CAMVID"]).parent
    data = prepare(REGISTRY["camvid"], root, (128, 128), None, tmp_path)
    assert (len(data.train), len(data.val)) == (367, 101)
    shares = np.bincount(data.train.labels.ravel(), minlength=256) / data.train.labels.size
    assert shares[3] == pytest.approx(0.3, abs=0.05)


def test_images_that_may_not_be_resized_are_padded_and_their_labels_ignored(
    camvid, tmp_path
) -> None:
    entry = REGISTRY["camvid"]
    padded = entry.model_copy(update={"fit": "pad"})
    whole = prepare(entry, camvid, (16, 24), None, tmp_path / "cache")
    data = prepare(padded, camvid, (32, 32), None, tmp_path / "cache")
    assert set(data.train.shown) == set(whole.train.shown) == {(16, 24)}
    assert np.array_equal(data.train.targets[:, :16, :24], whole.train.targets)
    assert np.array_equal(data.train.labels[:, :16, :24], whole.train.labels)
    assert (data.train.labels[:, 16:] == 255).all() and (data.train.labels[:, :, 24:] == 255).all()
    assert np.array_equal(data.train.targets[:, 16:31], data.train.targets[:, 14::-1])
    assert labelled_parts(data)["train"] == labelled_parts(whole)["train"]
    again = prepare(padded, camvid, (32, 32), None, tmp_path / "cache")
    assert again.fingerprint == data.fingerprint != whole.fingerprint
    with pytest.raises(UserError, match=r"is 24×16, larger than 16×16; .* at least 16x24"):
        prepare(padded, camvid, (16, 16), None, tmp_path / "cache")
    for side in ("train", "trainannot"):
        with Image.open(camvid / f"camvid/{side}/1.png") as image:
            image.crop((0, 0, 20, 16)).save(camvid / f"camvid/{side}/1.png")
    mixed = prepare(padded, camvid, (32, 32), None, tmp_path / "cache").train
    at = mixed.names.index("1")
    assert mixed.shown[at] == (16, 20) and mixed.shown[at - 1] == (16, 24)
    assert (mixed.labels[at, :, 20:] == 255).all() and (
        mixed.labels[at - 1, :16, 20:24] < 255
    ).any()
    assert np.array_equal(mixed.targets[at, :16, :20], data.train.targets[at, :16, :20])


def test_the_key_of_an_entry_without_later_fields_stays_the_same(camvid) -> None:
    """Caches of earlier versions are found: the key leaves out what is not used."""
    source = caching.find_source(REGISTRY["camvid"], camvid, SIZE)
    defined = REGISTRY["camvid"].model_dump_json(
        include={"layout", "sides", "colours", "ignore", "splits"}
    )
    listing, _ = listing_digests(source.pairs, camvid / "camvid")
    text = json.dumps([2, listing, defined, list(SIZE), str(camvid / "camvid")])
    assert source.key == hashlib.sha256(text.encode()).hexdigest()[:12]
