"""The figures of a run, drawn as SVG.

Every figure is 400 units wide, so that its text is still readable on a phone. Colours are classes: a page gives them
its own, and a figure that stands alone brings a style that follows the reader's light or dark scheme.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from rebase_hf.publish.public_text import shorten
from rebase_hf.publish.worth_it import WorthIt

WIDTH = 400
_MARGIN = 16
_LABEL_CHARS = 38
_STYLE = """<style>
.ground{fill:#fff}.ink{fill:#1d2330}.soft{fill:#5b6474}.bar{fill:#2f6fde}.left{fill:#c2410c}.track{fill:#e8ebf0}
.line{stroke:#5b6474}.dot{fill:#2f6fde}.seed{fill:none;stroke:#2f6fde}
text{font-family:system-ui,sans-serif}
@media (prefers-color-scheme:dark){.ground{fill:#14171d}.ink{fill:#e8ebf0}.soft{fill:#9aa4b5}.bar{fill:#6ea0ff}
.left{fill:#fb923c}.track{fill:#2a303b}.line{stroke:#9aa4b5}.dot{fill:#6ea0ff}.seed{stroke:#6ea0ff}}
</style>"""


def standalone(svg: str) -> str:
    """Return a figure as a file of its own: with its colours, a ground and a margin."""
    head, rest = svg.split(">", 1)
    height = int(re.findall(r'viewBox="0 0 \d+ (\d+)"', head)[0])
    place = f'x="{-_MARGIN}" y="{-_MARGIN}" width="{WIDTH + 2 * _MARGIN}" height="{height + 2 * _MARGIN}"'
    box = f"{-_MARGIN} {-_MARGIN} {WIDTH + 2 * _MARGIN} {height + 2 * _MARGIN}"
    head = head.replace(f"0 0 {WIDTH} {height}", box)
    return f'{head}>{_STYLE}<rect class="ground" {place}/>{rest}\n'


def bars(title: str, values: Mapping[str, float], *, limit: int = 12, digits: int = 0, unit: str = "") -> str:
    """Return horizontal bars, in the order given; what comes after `limit` is one bar."""
    shown = list(values.items())
    if len(shown) > limit:
        rest = shown[limit - 1 :]
        shown = [*shown[: limit - 1], (f"{len(rest)} others", sum(value for _, value in rest))]
    top = max((value for _, value in shown), default=0) or 1
    parts: list[str] = []
    for i, (name, value) in enumerate(shown):
        y = i * 36
        parts += [_text(0, y + 14, shorten(name, _LABEL_CHARS)), _count(y + 14, f"{value:,.{digits}f}{unit}")]
        parts += [_bar("track", 0, y + 20, WIDTH, 8), _bar("bar", 0, y + 20, WIDTH * value / top, 8)]
    return _svg(title, len(shown) * 36, parts)


def funnel(title: str, stages: Sequence[Mapping[str, Any]]) -> str:
    """Return the stages from retrieved to accepted, each with what left there by reason."""
    top = max((stage["count"] for stage in stages), default=0) or 1
    parts: list[str] = []
    y = 0.0
    for stage in stages:
        parts += [_text(0, y + 14, stage["name"], bold=True), _count(y + 14, f"{stage['count']:,}", bold=True)]
        parts += [_bar("track", 0, y + 20, WIDTH, 12), _bar("bar", 0, y + 20, WIDTH * stage["count"] / top, 12)]
        y += 40
        for reason, count in stage["left"].items():
            parts += [_text(16, y + 12, f"- {shorten(reason, _LABEL_CHARS)}", soft=True), _count(y + 12, f"{count:,}")]
            parts.append(_bar("left", 16, y + 17, (WIDTH - 16) * count / top, 4))
            y += 26
        y += 8
    return _svg(title, y, parts)


def histogram(title: str, values: Sequence[float], *, bins: int = 20) -> str:
    """Return how values are spread, as columns of equal width between the smallest and the largest."""
    low, high = min(values), max(values)
    width = (high - low) / bins or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(int((value - low) / width), bins - 1)] += 1
    step, tallest, foot = WIDTH / bins, max(counts), 140.0
    parts = [_text(0, 14, f"{tallest:,} rows in the fullest column", soft=True)]
    for i, count in enumerate(counts):
        height = 112 * count / tallest
        parts.append(
            _bar("bar", i * step + 1, foot - height, step - 2, height, title=f"{low + i * width:.3f}: {count}")
        )
    parts.append(f'<line class="line" x1="0" y1="{foot}" x2="{WIDTH}" y2="{foot}"/>')
    for x, anchor, value in ((0, "start", low), (WIDTH / 2, "middle", (low + high) / 2), (WIDTH, "end", high)):
        parts.append(_text(x, foot + 18, f"{value:.3f}", soft=True, anchor=anchor))
    return _svg(title, foot + 26, parts)


def comparison(title: str, worth: WorthIt) -> str:
    """Return mean, spread and single seeds of each contender on one scale from 0 to 1 (wider where scores are)."""
    scores = [c.scores[worth.metric] for c in worth.contenders if worth.metric in c.scores]
    top = max([1.0, *(mean for mean, _ in scores), *(s for c in worth.contenders for s in c.per_seed)])
    parts: list[str] = []
    y = 0.0

    def at(value: float) -> float:
        return 6 + (WIDTH - 12) * min(max(value / top, 0.0), 1.0)

    for contender in worth.contenders:
        if worth.metric not in contender.scores:
            continue
        mean, spread = contender.scores[worth.metric]
        parts += [
            _text(0, y + 14, shorten(contender.name, _LABEL_CHARS)),
            _count(y + 14, contender.cell(worth.metric)),
        ]
        parts.append(_bar("track", 0, y + 29, WIDTH, 2))
        if spread:
            span = f'x1="{at(mean - spread):.1f}" x2="{at(mean + spread):.1f}"'
            parts.append(f'<line class="line" {span} y1="{y + 30}" y2="{y + 30}" stroke-width="2"/>')
        parts += [f'<circle class="seed" cx="{at(s):.1f}" cy="{y + 30}" r="3"/>' for s in contender.per_seed]
        parts.append(f'<circle class="dot" cx="{at(mean):.1f}" cy="{y + 30}" r="5"/>')
        y += 50
    for value, anchor in ((0.0, "start"), (top / 2, "middle"), (top, "end")):
        parts.append(_text(WIDTH * value / top, y + 10, f"{value:.3g}", soft=True, anchor=anchor))
    return _svg(title, y + 18, parts)


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    box = f"0 0 {WIDTH} {max(height, 1):.0f}"
    name = escape(title, {'"': "&quot;"})
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" aria-label="{name}">'
    return f"{head}{''.join(parts)}</svg>"


def _text(x: float, y: float, text: str, *, bold: bool = False, soft: bool = False, anchor: str = "start") -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text class="{"soft" if soft else "ink"}" x="{x:.1f}" y="{y:.1f}" font-size="{13 if soft else 14}"'
        f'{weight} text-anchor="{anchor}">{escape(text)}</text>'
    )


def _count(y: float, text: str, *, bold: bool = False) -> str:
    return _text(WIDTH, y, text, bold=bold, anchor="end")


def _bar(kind: str, x: float, y: float, width: float, height: float, *, title: str = "") -> str:
    inner = f"<title>{escape(title)}</title>" if title else ""
    drawn = max(width, 1.0) if kind != "bar" or width > 0 else 0.0
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{drawn:.1f}" height="{height:.1f}" '
        f'rx="{min(2.0, height / 2):.1f}">{inner}</rect>'
    )
