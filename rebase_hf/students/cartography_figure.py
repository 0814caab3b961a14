"""The map of a dataset as a figure: each example by how sure the student is of its label, and how much that varies."""

from collections.abc import Sequence

from rebase_hf.quality.cartography import Map
from rebase_hf.svg import WIDTH, draw, standalone, text_at

# More dots than this hide each other; those shown are evenly spread over the rows.
MOST_DOTS = 2000
_TOP, _FOOT, _LEFT = 44.0, 320.0, 34.0
# The probability of one label, from epoch to epoch, has a standard deviation of at most a half.
_MOST_VARIED = 0.5


def map_figure(found: Map, kept: Sequence[bool]) -> str:
    """Return the map as an SVG file, as `draw_points` draws it."""
    return standalone(draw_points(found, kept))


def draw_points(found: Map, kept: Sequence[bool]) -> str:
    """Return the map as a figure for a page: confidence upwards, variability to the right, what goes in orange.

    Args:
        kept: Whether each example stays.
    """
    count = len(found.confidence)
    shown = [step * count // min(count, MOST_DOTS) for step in range(min(count, MOST_DOTS))]
    some = f"; {len(shown):,} shown" if len(shown) < count else ""
    title = f"Map of {count:,} examples over {found.epochs} epochs"
    parts = [text_at(0, 14, title, bold=True)]
    parts += [text_at(0, 30, f"confidence up, variability to the right; orange: left out{some}", soft=True)]
    parts += _axes()
    for row in shown:
        x, y = _right(float(found.variability[row])), _up(float(found.confidence[row]))
        told = f"row {row}: right in {found.correctness[row]:.0%} of epochs"
        kind = "dot" if kept[row] else "left"
        parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"><title>{told}</title></circle>')
    return draw(title, _FOOT + 26, parts)


def _axes() -> list[str]:
    lines = [
        f'<line class="line" x1="{_LEFT}" y1="{_TOP}" x2="{_LEFT}" y2="{_FOOT}"/>',
        f'<line class="line" x1="{_LEFT}" y1="{_FOOT}" x2="{WIDTH}" y2="{_FOOT}"/>',
    ]
    up = [text_at(_LEFT - 6, _up(value) + 4, f"{value:g}", soft=True, anchor="end") for value in (0.0, 0.5, 1.0)]
    places = ((0.0, "start"), (_MOST_VARIED / 2, "middle"), (_MOST_VARIED, "end"))
    along = [text_at(_right(value), _FOOT + 18, f"{value:g}", soft=True, anchor=anchor) for value, anchor in places]
    return lines + up + along


def _right(value: float) -> float:
    return _LEFT + (WIDTH - _LEFT) * min(value / _MOST_VARIED, 1.0)


def _up(value: float) -> float:
    return _FOOT - (_FOOT - _TOP) * min(max(value, 0.0), 1.0)
