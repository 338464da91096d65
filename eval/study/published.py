"""The paper's own study: Tables 4 and 5 of arXiv v3, in percent of trials fooled."""

PUBLISHED: dict[str, dict[str, tuple[float, float]]] = {
    "photo→map (Table 4)": {"L1": (2.8, 1.0), "L1+cGAN": (6.1, 1.3)},
    "map→photo (Table 4)": {"L1": (0.8, 0.3), "L1+cGAN": (18.9, 2.5)},
    "colorization (Table 5)": {
        "L2": (16.3, 2.4),
        "Zhang et al.": (27.8, 2.7),
        "L1+cGAN": (22.5, 1.6),
    },
}
"""{task: {arm: (percent, ±)}}"""
SPREAD = 0.028
"""Intraclass correlation of participants with which 50 of them, 40 trials each, give a 95 %
interval of ±2.5 at 18.9 %, for which we take the paper's ±; the paper does not say what it is."""


def published_for(arms: tuple[str, ...]) -> dict[str, dict[str, tuple[float, float]]]:
    """The tasks in which the paper has the most of these arms; none without any."""
    shared = {task: len(set(rows) & set(arms)) for task, rows in PUBLISHED.items()}
    most = max(1, *shared.values())
    return {task: rows for task, rows in PUBLISHED.items() if shared[task] == most}


def paper_order(first: str, second: str) -> tuple[str, str, str] | None:
    """(the arm that fools more often, the other, the table); None unless the paper has both."""
    for task, rows in reversed(PUBLISHED.items()):
        if first in rows and second in rows:
            more, less = sorted((first, second), key=lambda arm: -rows[arm][0])
            return more, less, task.partition("(")[2].rstrip(")")
    return None
