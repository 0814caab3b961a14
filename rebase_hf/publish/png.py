"""Figures as PNG, for where SVG is not shown: drawn from the SVG by Pillow, in the light colours.

Only what `svg.py` draws is known: rectangles, lines, circles and texts. Pillow's wheel holds all that it needs. Its
own font knows Latin letters without accents, so a sans-serif font of the system is taken where there is one.
"""

import io
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from rebase_hf.errors import require
from rebase_hf.svg import MARGIN

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

SCALE = 2
_COLORS = {
    "ink": "#1d2330", "soft": "#5b6474", "bar": "#2f6fde", "left": "#c2410c", "track": "#e8ebf0", "line": "#5b6474",
    "dot": "#2f6fde", "seed": "#2f6fde",
}  # fmt: skip
_FONTS = {
    False: ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "NotoSans-Regular.ttf", "arial.ttf", "Helvetica.ttc"),
    True: ("DejaVuSans-Bold.ttf", "LiberationSans-Bold.ttf", "NotoSans-Bold.ttf", "arialbd.ttf", "Helvetica.ttc"),
}


def has_pillow() -> bool:
    """Return whether PNG can be drawn here."""
    return find_spec("PIL") is not None


def to_png(svg: str) -> bytes:
    """Return a figure of `svg.draw` as a PNG of twice its size, with a margin.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    require("PIL", what="A figure as PNG", extra="figures")
    from PIL import Image, ImageDraw

    root = ElementTree.fromstring(svg)  # our own drawing, no foreign XML
    _, top, width, height = (int(side) for side in root.attrib["viewBox"].split())
    size = tuple(round(SCALE * (side + 2 * MARGIN)) for side in (width, height))
    image = Image.new("RGB", (size[0], size[1]), "#ffffff")
    canvas = ImageDraw.Draw(image)
    for element in root:
        for name in ("y", "y1", "y2", "cy"):
            if name in element.attrib:
                element.attrib[name] = str(float(element.attrib[name]) - top)
        _draw(canvas, element.tag.rpartition("}")[2], element.attrib, element.text or "")
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _draw(canvas: "ImageDraw", kind: str, held: dict[str, str], text: str) -> None:
    color = _COLORS.get(held.get("class", ""), "#1d2330")

    def at(name: str, *, margin: bool = True) -> float:
        return SCALE * (float(held.get(name, 0)) + (MARGIN if margin else 0))

    if kind == "rect":
        wide, high = at("width", margin=False), at("height", margin=False)
        if wide >= 1:
            box = (at("x"), at("y"), at("x") + wide - 1, at("y") + max(high, 1.0) - 1)
            canvas.rounded_rectangle(box, radius=min(at("rx", margin=False), wide / 2, high / 2), fill=color)
    elif kind == "line":
        width = round(SCALE * float(held.get("stroke-width", 1)))
        canvas.line((at("x1"), at("y1"), at("x2"), at("y2")), fill=color, width=width)
    elif kind == "circle":
        x, y, r = at("cx"), at("cy"), at("r", margin=False)
        hollow = held.get("class") == "seed"
        canvas.ellipse((x - r, y - r, x + r, y + r), outline=color, fill=None if hollow else color, width=SCALE)
    elif kind == "text":
        font = _font(round(SCALE * float(held["font-size"])), "font-weight" in held)
        anchor = {"start": "ls", "middle": "ms", "end": "rs"}[held.get("text-anchor", "start")]
        canvas.text((at("x"), at("y")), text, fill=color, font=font, anchor=anchor)


@cache
def _font(size: int, bold: bool) -> Any:
    from PIL import ImageFont

    for name in _FONTS[bold]:
        try:
            return ImageFont.truetype(name, size)
        except OSError:  # this system has not this one
            continue
    return ImageFont.load_default(size)
