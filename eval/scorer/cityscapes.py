"""The published Cityscapes protocol `cityscapes-fcn8s`, step by step as in the original script.

Followed: phillipi/pix2pix, `scripts/eval_cityscapes/` (`evaluate.py`, `cityscapes.py`, `util.py`,
`caffemodel/deploy.prototxt`), the same files as in junyanz/pytorch-CycleGAN-and-pix2pix.

1. A photo of 256×256 (the scorer was trained on such photos) is enlarged to 2048×1024 (width ×
   height). The script calls `scipy.misc.imresize`: the bilinear filter of Pillow on 8-bit values,
   rounded to 8 bits. SciPy 1.3 dropped it, so Pillow is called directly.
2. RGB becomes BGR, and a mean is subtracted; values are not scaled.
3. The class of a pixel is the largest of 20 outputs.
4. The truth is `*_gtFine_labelIds.png` at full resolution, converted to the trainIds of
   cityscapesScripts: 19 classes; 255 is ignored. The 20th output is not a class: predicting it is
   an error.
5. The confusion matrices of all images are added, and scored by
   `eval.fcn_score.scores(…, scored=19)`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from eval import matching
from eval.scorer.fcn8s import FCN8s
from eval.scorer.file import is_published, load_scorer
from pix2pix.common.errors import UserError
from pix2pix.data.decode import read_labels
from pix2pix.data.registry import IGNORED

PROTOCOL = "cityscapes-fcn8s"
SIZE = (1024, 2048)
"""Height and width of the label maps and of the network's input."""
PHOTO_SIZE = (256, 256)
"""Of the photos that the scorer was trained on. Scores of other sizes are not comparable."""
MEAN_BGR = np.array((72.78044, 83.21195, 73.45286), np.float32)  # cityscapes.py
SCORED = 19
OUTPUTS = 20
WIDTH = 64

# cityscapesScripts, `helpers/labels.py`: the label id of each trainId. All other ids are ignored.
LABEL_IDS = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
LABEL_ID_COUNT = 34
CLASS_NAMES = (*LABEL_IDS, "output 19 (no class)")


def load_published_scorer(path: Path, device: str | torch.device = "cpu") -> FCN8s:
    """The published network, from a file that `python -m eval.scorer.convert_caffemodel` wrote.

    Raises:
        UserError: from `load_scorer`, or it is not the published network.
    """
    model, record = load_scorer(path, device)
    published = {"classes": OUTPUTS, "width": WIDTH, "batch_norm": False, "padding": "published"}
    fits = is_published(record) and model.specification == published
    if not isinstance(model, FCN8s) or not fits:
        raise UserError(
            f"{path}: not the published network ({model.classes} classes); {PROTOCOL} needs a file"
            " from python -m eval.scorer.convert_caffemodel"
        )
    return model


def segment_published(model: FCN8s, image: np.ndarray) -> np.ndarray:
    """Steps 1 to 3: the predicted class of every pixel of the enlarged photo.

    Args:
        model: in evaluation mode, with 20 outputs.
        image: (H, W, 3) uint8 RGB; the scorer was trained on `PHOTO_SIZE`.

    Returns:
        (1024, 2048) uint8, 0 to 19.
    """
    device = next(model.parameters()).device
    batch = torch.from_numpy(network_input(image)[np.newaxis])
    # Full single precision, as in Caffe: a GPU would otherwise round to TF32.
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        scores = model(batch.to(device, memory_format=torch.channels_last))
        return scores.argmax(1)[0].byte().cpu().numpy()


def network_input(image: np.ndarray) -> np.ndarray:
    """Steps 1 and 2: (H, W, 3) uint8 RGB -> (3, 1024, 2048) float32 BGR without the mean."""
    height, width = SIZE
    photo = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    bgr = np.asarray(photo, np.float32)[:, :, ::-1] - MEAN_BGR
    return np.ascontiguousarray(bgr.transpose(2, 0, 1))


def read_train_ids(path: Path) -> np.ndarray:
    """The truth of step 4: (H, W) uint8, trainIds 0 to 18 and 255; `score_folders` checks the size.

    The name tells the kind of file: `*_gtFine_labelIds.png`, or `*_gtFine_labelTrainIds.png`, which
    cityscapesScripts writes.

    Raises:
        UserError: wrong name or kind, or an index that this kind of file cannot hold.
    """
    if path.stem.endswith(matching.LABEL_IDS):
        train_id_of = np.full(LABEL_ID_COUNT, IGNORED, np.uint8)
        train_id_of[list(LABEL_IDS.values())] = range(SCORED)
        return train_id_of[read_labels(path, LABEL_ID_COUNT, ignored=0)]
    if path.stem.endswith(matching.TRAIN_IDS):
        return read_labels(path, SCORED, IGNORED)
    raise UserError(
        f"{path}: must be a *{matching.LABEL_IDS}.png or *{matching.TRAIN_IDS}.png of Cityscapes"
    )


def original_script_scores(confusions: np.ndarray) -> dict[str, Any]:
    """What the original script would print for these images, to explain differences from ours.

    Its `util.py` differs from our scores in three ways:

    - `fast_hist` counts pixels at 19·truth + prediction. Output 19 for a pixel of class a is
      counted at 19·(a + 1) + 0: as a pixel of class a + 1 that is predicted as road.
    - For class 18 this index is out of range: `np.bincount` returns more than 19² counts, and the
      script drops the whole image.
    - `get_scores` adds 1e-12 to every denominator: an absent class counts as 0 in both means over
      classes (its `nanmean` never gets a NaN).

    Args:
        confusions: (N, 20, 20) int, one matrix per image; rows truth (19 is empty), columns
            prediction.

    Returns:
        pixel_accuracy, class_accuracy, class_iou; dropped_images (indices); misplaced_pixels (in
        the other images); absent_classes (names of classes that count as 0).
    """
    dropped = confusions[:, SCORED - 1, SCORED] > 0
    kept = confusions[~dropped].sum(0)
    histogram = kept[:SCORED, :SCORED].astype(np.float64)
    histogram[1:, 0] += kept[: SCORED - 1, SCORED]
    correct, true, predicted = np.diag(histogram), histogram.sum(1), histogram.sum(0)
    return {
        "pixel_accuracy": float(correct.sum() / (true.sum() + 1e-12)),
        "class_accuracy": float((correct / (true + 1e-12)).mean()),
        "class_iou": float((correct / (true + predicted - correct + 1e-12)).mean()),
        "dropped_images": np.flatnonzero(dropped).tolist(),
        "misplaced_pixels": int(kept[:, SCORED].sum()),
        "absent_classes": [CLASS_NAMES[i] for i in np.flatnonzero(true == 0)],
    }
