"""BibTeX entries of the paper that is reproduced and of this software."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from experiments.tracking.reader import SuiteRuns
from reports.pages.latex import escape

FILE = "pix2pix-ablations.bib"
PACKAGE = "pix2pix-ablations"
PAPER = """@inproceedings{isola2017image,
  author    = {Isola, Phillip and Zhu, Jun-Yan and Zhou, Tinghui and Efros, Alexei A.},
  title     = {Image-to-Image Translation with Conditional Adversarial Networks},
  booktitle = {Proceedings of the {IEEE} Conference on Computer Vision and Pattern Recognition
               ({CVPR})},
  year      = {2017},
  note      = {arXiv:1611.07004}
}
"""


def bibtex(runs: SuiteRuns) -> str:
    """Both entries; the software's names its version and the commit that the runs are of."""
    try:
        released = f"version {version(PACKAGE)}, "
    except PackageNotFoundError:  # run from a checkout that was not installed
        released = ""
    commit = escape(runs.record.commit)
    return f"""{PAPER}
@misc{{pix2pixablations,
  author = {{{{The {PACKAGE} authors}}}},
  title  = {{{PACKAGE}: the ablations of pix2pix on anyone's data}},
  note   = {{Software, {released}commit {commit}}}
}}
"""
