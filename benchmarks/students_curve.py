"""The learning curves of active synthesis as a picture: one panel a task, one line a contender."""

from collections.abc import Mapping, Sequence
from typing import Any

from rebase_hf.svg import WIDTH, draw, standalone, text_at

# A line's colour is to be seen on a light ground and on a dark one.
LINES = {
    "static": ("#8a93a3", ""),
    "random": ("#8a93a3", "2 4"),
    "active": ("#2f6fde", ""),
    "development": ("#c2410c", ""),
    "static+human": ("#c2410c", "2 4"),
}
_PANEL, _GAP, _LEFT, _KEY = 120, 44, 40, 18


def curves_picture(curves: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return the picture as SVG.

    Args:
        curves: Task to contender to `answers` and `mean`, numbers alike in length.
    """
    parts, top = [], 0.0
    for task, found in curves.items():
        parts += _panel(task, found, top + 24)
        top += _PANEL + _GAP
    for number, (who, (colour, dashes)) in enumerate(LINES.items()):
        x, y = 4 + 130 * (number % 3), top + 14 + _KEY * (number // 3)
        parts.append(_line([(x, y - 4), (x + 22, y - 4)], colour, dashes))
        parts.append(text_at(x + 27, y, who, soft=True))
    return standalone(draw("Macro-F1 by teacher answers", top + 2 * _KEY + 4, parts))


def _panel(task: str, found: Mapping[str, Mapping[str, Any]], top: float) -> list[str]:
    values = [value for one in found.values() for value in one["mean"]]
    low, high = min(values), max(values)
    answers = next(iter(found.values()))["answers"]

    def place(count: float, value: float) -> tuple[float, float]:
        across = (count - answers[0]) / (answers[-1] - answers[0])
        return _LEFT + across * (WIDTH - _LEFT - 6), top + _PANEL - 22 - (value - low) / (high - low) * (_PANEL - 30)

    parts = [text_at(0, top - 6, f"{task}, macro-F1", bold=True)]
    parts += [text_at(0, place(answers[0], value)[1] + 4, f"{value:.2f}", soft=True) for value in (low, high)]
    for count, anchor in ((answers[0], "start"), (answers[-1], "end")):
        parts.append(text_at(place(count, low)[0], top + _PANEL, f"{count} answers", soft=True, anchor=anchor))
    for who, one in found.items():
        points = [place(count, value) for count, value in zip(one["answers"], one["mean"], strict=True)]
        parts.append(_line(points, *LINES[who]))
    return parts


def _line(points: Sequence[tuple[float, float]], colour: str, dashes: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashed}/>'
