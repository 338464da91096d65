"""A sheet of scores as text for a terminal."""

from __future__ import annotations

from eval.bootstrap import LEVEL
from eval.metrics import METRICS
from eval.results import ScoreSheet


def table(sheet: ScoreSheet) -> str:
    """Scores with their intervals over images, then classes and bin widths where measured."""
    smallest, largest = (
        f"{h}x{w}" for h, w in (sheet.settings[k] for k in ("smallest", "largest"))
    )
    sizes = smallest if sheet.settings["sizes"] == 1 else f"{smallest} to {largest}"
    lines = [f"{len(sheet.names)} images of {sizes}, matched by {sheet.settings['matched_by']}", ""]
    interval = f"{LEVEL:.0%} over images"
    lines.append(f"{'score':22}{'value':>9}  {interval:<22}{'unit':5}better")
    for name, value in sheet.values.items():
        metric = METRICS[name]
        low_high = ""
        if name in sheet.intervals:
            low_high = "{:.4f} to {:.4f}".format(*sheet.intervals[name])
        lines.append(f"{name:22}{value:9.4f}  {low_high:<22}{metric.unit:5}{metric.better}")
    lines += [f"{name:22}not measured: {why}" for name, why in sheet.not_measured.items()]
    if sheet.intervals:
        lines.append("The interval is over test images, of this one model: not over trainings.")
    return "\n".join([*lines, *_by_class(sheet), *_by_bin_width(sheet), *_original(sheet)])


def _by_class(sheet: ScoreSheet) -> list[str]:
    if not any(row["iou"] is not None for row in sheet.per_class):
        return []
    width = max(len(row["class"]) for row in sheet.per_class) + 2
    lines = ["", f"{'class':{width}}{'accuracy':>9}{'IoU':>9}"]
    for row in sheet.per_class:
        cells = ("absent" if row[k] is None else f"{row[k]:.4f}" for k in ("accuracy", "iou"))
        lines.append(f"{row['class']:{width}}" + "".join(f"{cell:>9}" for cell in cells))
    return lines


def _by_bin_width(sheet: ScoreSheet) -> list[str]:
    if not sheet.color_by_bin_width:
        return []
    names = list(next(iter(sheet.color_by_bin_width.values())))
    lines = ["", f"{'bin width (Lab units)':22}" + "".join(f"{name:>9}" for name in names)]
    for width, values in sheet.color_by_bin_width.items():
        lines.append(f"{width:22}" + "".join(f"{values[name]:9.4f}" for name in names))
    return lines


def _original(sheet: ScoreSheet) -> list[str]:
    """What the published script would print, beside ours."""
    found = sheet.original_script
    if found is None:
        return []
    quirks = "absent classes as 0, pixels moved, images dropped"
    lines = ["", f"the original script would print ({quirks}):"]
    lines += [
        f"{'fcn.' + key:22}{value:9.4f}" for key, value in found.items() if isinstance(value, float)
    ]
    dropped, absent = found["dropped_images"], found["absent_classes"]
    lines.append(
        f"images it drops: {len(dropped)}" + (f" ({', '.join(dropped[:3])})" * bool(dropped))
    )
    lines.append(f"pixels of output 19 that it moves to another class: {found['misplaced_pixels']}")
    lines.append(f"classes it counts as 0: {', '.join(absent) or 'none'}")
    return lines
