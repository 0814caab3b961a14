"""Drawing as SVG: what every figure is made of, and the style of one that stands alone.

Every figure is 400 units wide, so that its text is still readable on a phone. Colours are classes: a page gives them
its own, and a figure that stands alone brings a style that follows the reader's light or dark scheme.
"""

import re
from collections.abc import Sequence
from xml.sax.saxutils import escape, unescape

WIDTH = 400
MARGIN = 16
_TITLE = 30
_STYLE = """<style>
.ground{fill:#fff}.ink{fill:#1d2330}.soft{fill:#5b6474}.bar{fill:#2f6fde}.left{fill:#c2410c}.track{fill:#e8ebf0}
.line{stroke:#5b6474}.dot{fill:#2f6fde}.seed{fill:none;stroke:#2f6fde}
text{font-family:system-ui,sans-serif}
@media (prefers-color-scheme:dark){.ground{fill:#14171d}.ink{fill:#e8ebf0}.soft{fill:#9aa4b5}.bar{fill:#6ea0ff}
.left{fill:#fb923c}.track{fill:#2a303b}.line{stroke:#9aa4b5}.dot{fill:#6ea0ff}.seed{stroke:#6ea0ff}}
</style>"""


def titled(svg: str) -> str:
    """Return a figure with its name above it, for where no heading stands."""
    height = _box(svg)[3]
    name = unescape(re.findall(r'aria-label="([^"]*)"', svg)[0], {"&quot;": '"'})
    head, rest = svg.split(">", 1)
    head = head.replace(f"0 0 {WIDTH} {height}", f"0 {-_TITLE} {WIDTH} {height + _TITLE}")
    return f"{head}>{text_at(0, 14 - _TITLE, name, bold=True)}{rest}"


def standalone(svg: str) -> str:
    """Return a figure as a file of its own: with its colours, a ground and a margin."""
    head, rest = svg.split(">", 1)
    left, top, width, height = _box(svg)
    x, y, wide, high = left - MARGIN, top - MARGIN, width + 2 * MARGIN, height + 2 * MARGIN
    head = head.replace(f"{left} {top} {width} {height}", f"{x} {y} {wide} {high}")
    ground = f'<rect class="ground" x="{x}" y="{y}" width="{wide}" height="{high}"/>'
    return f"{head}>{_STYLE}{ground}{rest}\n"


def _box(svg: str) -> tuple[int, ...]:
    return tuple(int(side) for side in re.findall(r'viewBox="([-\d ]+)"', svg)[0].split())


def draw(title: str, height: float, parts: Sequence[str]) -> str:
    """Return a figure of a title and a height, made of parts."""
    box = f"0 0 {WIDTH} {max(height, 1):.0f}"
    name = escape(title, {'"': "&quot;"})
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" aria-label="{name}">'
    return f"{head}{''.join(parts)}</svg>"


def text_at(x: float, y: float, text: str, *, bold: bool = False, soft: bool = False, anchor: str = "start") -> str:
    """Return a text that begins, ends or has its middle at x."""
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text class="{"soft" if soft else "ink"}" x="{x:.1f}" y="{y:.1f}" font-size="{13 if soft else 14}"'
        f'{weight} text-anchor="{anchor}">{escape(text)}</text>'
    )


def number_at(y: float, text: str, *, bold: bool = False) -> str:
    """Return a text that ends at the right edge."""
    return text_at(WIDTH, y, text, bold=bold, anchor="end")


def bar(kind: str, x: float, y: float, width: float, height: float, *, title: str = "") -> str:
    """Return a bar of a class of colour; a bar of nothing is not seen, a track or what left is."""
    inner = f"<title>{escape(title)}</title>" if title else ""
    drawn = max(width, 1.0) if kind != "bar" or width > 0 else 0.0
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{drawn:.1f}" height="{height:.1f}" '
        f'rx="{min(2.0, height / 2):.1f}">{inner}</rect>'
    )
