"""matplotlib's SVG files made fit to stand in a page, in its light and its dark form."""

from __future__ import annotations

import re

from markupsafe import Markup

from reports.figures.style import INK


def inline_svg(text: str, name: str, label: str) -> Markup:
    """An SVG file's text as an element of a page.

    `name` comes before every id, because several figures share a page; what is drawn in ink takes
    the page's colour of text; `label` is what a screen reader says. Raises ValueError where the
    text is not an SVG of matplotlib's.
    """
    start = text.find("<svg")
    if start < 0:
        raise ValueError(f"{name}: not an SVG")
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[start:], flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', text)
    text = re.sub(r'xlink:href="', 'href="', text)
    text = re.sub(r'<style type="text/css">\*\{', f"<style>#{name}-drawing *{{", text)
    text = text.replace(INK, "currentColor")
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]+"', head)
    if box is None:
        raise ValueError(f"{name}: an SVG without a viewBox")
    opening = Markup('<svg id="{}-drawing" role="img" aria-label="{}" ').format(name, label)
    opening += Markup(box[0])
    return opening + Markup(">" + body.strip())


def effect_plot(
    effect: float, low: float, high: float, extent: float, unit: str, label: str
) -> Markup:
    """A difference and its interval on an axis from -extent to extent, with 0 marked; `label` is
    what a screen reader says."""
    if not extent > 0:
        return Markup("")

    def x(value: float) -> float:
        return round(130 + 120 * max(-1.0, min(1.0, value / extent)), 1)

    ends = f"{extent:.2g}"
    return Markup(
        '<svg viewBox="0 0 260 34" role="img" aria-label="{label}">'
        '<line class="plotzero" x1="10" x2="250" y1="20" y2="20"/>'
        '<line class="plotzero" x1="130" x2="130" y1="5" y2="24"/>'
        '<line class="plotline" x1="{a}" x2="{b}" y1="12" y2="12"/>'
        '<circle class="plotdot" cx="{c}" cy="12" r="3.5"/>'
        '<text x="10" y="32">−{ends}</text><text x="130" y="32" text-anchor="middle">0</text>'
        '<text x="250" y="32" text-anchor="end">+{ends}{unit}</text></svg>'
    ).format(label=label, a=x(low), b=x(high), c=x(effect), ends=ends, unit=unit)
