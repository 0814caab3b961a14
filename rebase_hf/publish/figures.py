"""The figures of a run, drawn as SVG (`svg.py`)."""

from collections.abc import Mapping, Sequence
from typing import Any

from rebase_hf.public_text import shorten
from rebase_hf.publish.compared_texts import MEASURES, TextsCompared
from rebase_hf.publish.training_findings import Learning
from rebase_hf.publish.worth_it import WorthIt
from rebase_hf.svg import WIDTH, bar, draw, number_at, text_at

_LABEL_CHARS = 38


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
        parts += [text_at(0, y + 14, shorten(name, _LABEL_CHARS)), number_at(y + 14, f"{value:,.{digits}f}{unit}")]
        parts += [bar("track", 0, y + 20, WIDTH, 8), bar("bar", 0, y + 20, WIDTH * value / top, 8)]
    return draw(title, len(shown) * 36, parts)


def funnel(title: str, stages: Sequence[Mapping[str, Any]]) -> str:
    """Return the stages from retrieved to accepted, each with what left there by reason."""
    top = max((stage["count"] for stage in stages), default=0) or 1
    parts: list[str] = []
    y = 0.0
    for stage in stages:
        parts += [text_at(0, y + 14, stage["name"], bold=True), number_at(y + 14, f"{stage['count']:,}", bold=True)]
        parts += [bar("track", 0, y + 20, WIDTH, 12), bar("bar", 0, y + 20, WIDTH * stage["count"] / top, 12)]
        y += 40
        for reason, count in stage["left"].items():
            parts += [
                text_at(16, y + 12, f"- {shorten(reason, _LABEL_CHARS)}", soft=True),
                number_at(y + 12, f"{count:,}"),
            ]
            parts.append(bar("left", 16, y + 17, (WIDTH - 16) * count / top, 4))
            y += 26
        y += 8
    return draw(title, y, parts)


def before_and_after(title: str, before: Mapping[str, float], after: Mapping[str, float], *, limit: int = 20) -> str:
    """Return two bars for each name, of what there was (pale) and of what stayed; names after `limit` are left out."""
    top = max([*before.values(), *after.values()], default=0) or 1
    parts: list[str] = []
    for i, name in enumerate(list(after)[:limit]):
        y, had, has = i * 42, before.get(name, 0), after[name]
        parts += [text_at(0, y + 14, shorten(name, _LABEL_CHARS)), number_at(y + 14, f"{had:,.0f} to {has:,.0f}")]
        parts += [bar("track", 0, y + 20, WIDTH, 14), bar("left", 0, y + 20, WIDTH * had / top, 6)]
        parts.append(bar("bar", 0, y + 28, WIDTH * has / top, 6))
    return draw(title, min(len(after), limit) * 42, parts)


def learning(title: str, found: Learning, *, limit: int = 10) -> str:
    """Return, for each source, the accuracy after the first epoch (ring) and after the last (dot), hardest first."""
    parts: list[str] = []
    y = 0.0
    for source in found.sources[:limit]:
        parts += [text_at(0, y + 14, shorten(source.name, _LABEL_CHARS)), number_at(y + 14, f"loss {source.loss:.3f}")]
        parts.append(bar("track", 0, y + 29, WIDTH, 2))
        first, last = (6 + (WIDTH - 12) * value for value in (source.first_accuracy, source.accuracy))
        parts.append(f'<circle class="seed" cx="{first:.1f}" cy="{y + 30}" r="5"/>')
        parts.append(f'<circle class="dot" cx="{last:.1f}" cy="{y + 30}" r="5"/>')
        y += 50
    for value, anchor in ((0, "start"), (0.5, "middle"), (1, "end")):
        parts.append(text_at(WIDTH * value, y + 10, f"{value:.0%}", soft=True, anchor=anchor))
    return draw(title, y + 18, parts)


def grouped(title: str, compared: TextsCompared) -> str:
    """Return a group of bars for each measure, one bar for each set of texts; all measures lie between 0 and 1."""
    parts: list[str] = []
    y = 0.0
    for measure, told in MEASURES.items():
        parts += [text_at(0, y + 14, measure, bold=True), text_at(0, y + 31, told, soft=True)]
        y += 40
        for i, (name, values) in enumerate(compared.values.items()):
            value = values[measure]
            parts += [text_at(0, y + 13, shorten(name, _LABEL_CHARS)), number_at(y + 13, f"{value:.3f}")]
            parts += [bar("track", 0, y + 18, WIDTH, 6), bar("left" if i else "bar", 0, y + 18, WIDTH * value, 6)]
            y += 32
        y += 10
    return draw(title, y, parts)


def histogram(
    title: str, values: Sequence[float], *, bins: int = 20, low: float | None = None, high: float | None = None
) -> str:
    """Return how values are spread, as columns of equal width from `low` to `high`: the smallest and the largest."""
    low, high = min(values) if low is None else low, max(values) if high is None else high
    width = (high - low) / bins or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(int((value - low) / width), bins - 1)] += 1
    step, tallest, foot = WIDTH / bins, max(counts), 140.0
    parts = [text_at(0, 14, f"{tallest:,} rows in the fullest column", soft=True)]
    for i, count in enumerate(counts):
        height = 112 * count / tallest
        parts.append(
            bar("bar", i * step + 1, foot - height, step - 2, height, title=f"{low + i * width:.3f}: {count}")
        )
    parts.append(f'<line class="line" x1="0" y1="{foot}" x2="{WIDTH}" y2="{foot}"/>')
    for x, anchor, value in ((0, "start", low), (WIDTH / 2, "middle", (low + high) / 2), (WIDTH, "end", high)):
        parts.append(text_at(x, foot + 18, f"{value:.3f}", soft=True, anchor=anchor))
    return draw(title, foot + 26, parts)


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
            text_at(0, y + 14, shorten(contender.name, _LABEL_CHARS)),
            number_at(y + 14, contender.cell(worth.metric)),
        ]
        parts.append(bar("track", 0, y + 29, WIDTH, 2))
        if spread:
            span = f'x1="{at(mean - spread):.1f}" x2="{at(mean + spread):.1f}"'
            parts.append(f'<line class="line" {span} y1="{y + 30}" y2="{y + 30}" stroke-width="2"/>')
        parts += [f'<circle class="seed" cx="{at(s):.1f}" cy="{y + 30}" r="3"/>' for s in contender.per_seed]
        parts.append(f'<circle class="dot" cx="{at(mean):.1f}" cy="{y + 30}" r="5"/>')
        y += 50
    for value, anchor in ((0.0, "start"), (top / 2, "middle"), (top, "end")):
        parts.append(text_at(WIDTH * value / top, y + 10, f"{value:.3g}", soft=True, anchor=anchor))
    return draw(title, y + 18, parts)
