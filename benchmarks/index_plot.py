"""Recall against queries of an index and of others, as a picture."""

import math
from collections.abc import Mapping, Sequence

from rebase_hf.svg import WIDTH, draw, standalone, text_at

# Colours that are seen on a light ground and on a dark one; ours is the thick one.
COLOURS = {
    "ours": ("#2f6fde", 3.0, ""),
    "hnswlib": ("#c2410c", 1.6, ""),
    "faiss": ("#3f9142", 1.6, ""),
    "faiss_small": ("#3f9142", 1.6, "2 4"),
    "usearch": ("#8a63d2", 1.6, ""),
    "usearch_small": ("#8a63d2", 1.6, "2 4"),
    "faiss_scan": ("#8a93a3", 1.6, ""),
}
_LOW, _LEFT, _TOP, _HEIGHT, _ROW = 0.8, 56, 26, 260, 18


def recall_picture(curves: Mapping[str, Sequence[Mapping[str, float]]], words: Mapping[str, str]) -> str:
    """Return the picture as SVG.

    Args:
        curves: For each name its points, `recall` and `queries` a CPU-second.
        words: What each is called.
    """
    shown = {name: [point for point in points if point["recall"] >= _LOW] for name, points in curves.items()}
    counts = [point["queries"] for points in shown.values() for point in points]
    low, high = math.floor(math.log10(min(counts))), math.ceil(math.log10(max(counts)))

    def place(recall: float, queries: float) -> tuple[float, float]:
        across = (recall - _LOW) / (1 - _LOW)
        up = (math.log10(queries) - low) / (high - low)
        return _LEFT + across * (WIDTH - _LEFT - 6), _TOP + (1 - up) * _HEIGHT

    parts = [text_at(0, 12, "queries a CPU-second, by recall@10", bold=True)]
    for power in range(low, high + 1):
        y = place(1, 10**power)[1]
        parts.append(f'<path class="line" d="M{_LEFT} {y:.1f}H{WIDTH}" stroke-width=".5" opacity=".5"/>')
        parts.append(text_at(_LEFT - 6, y + 4, f"{10**power:,}", soft=True, anchor="end"))
    for recall in (_LOW, 0.85, 0.9, 0.95, 1.0):
        x = place(recall, 10**low)[0]
        parts.append(
            text_at(x, _TOP + _HEIGHT + 18, f"{recall:g}", soft=True, anchor="end" if recall == 1 else "middle")
        )
    for name, points in shown.items():
        parts += _curve(COLOURS[name], [place(point["recall"], point["queries"]) for point in points])
    foot = _TOP + _HEIGHT + 28
    for number, name in enumerate(shown):
        y = foot + _ROW * (number + 1)
        parts += _curve(COLOURS[name], [(4, y - 4), (26, y - 4)])
        parts.append(text_at(32, y, words[name], soft=True))
    return standalone(draw("Queries a CPU-second by recall@10", foot + _ROW * len(shown) + 8, parts))


def _curve(look: tuple[str, float, str], points: Sequence[tuple[float, float]]) -> list[str]:
    colour, width, dashes = look
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    line = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"{dashed}/>'
    return [line, *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{width + 0.8:.1f}" fill="{colour}"/>' for x, y in points)]
