"""Pictures as SVG text, drawn on the server. Each has a table with the same numbers beside it in the page, for readers and for tests.

Colours come from the page's own tokens (CSS classes), so a picture follows light and dark by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup, escape


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its uncertainty."""

    label: str
    value: float
    low: float
    high: float


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About so many round numbers between `low` and `high`, both included: steps of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** floor(log10(raw))
    step = power * next(factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [round(step * at, 12) + 0.0 for at in range(first, last + 1)]


def curve(points: Sequence[tuple[float, float]], *, title: str, x_label: str, y_label: str, width: int = 640, height: int = 260) -> Markup:
    """A line through (x, y) points, such as a loss curve."""
    if len(points) < 2:
        return Markup("")
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    x0, x1, y0, y1 = min(xs), max(xs), min(ys), max(ys)
    pad = (y1 - y0) * 0.08 or abs(y1) * 0.05 or 1.0
    y0, y1 = y0 - pad, y1 + pad
    left, right, top, bottom = 56, 14, 14, 40

    def px(x: float) -> float:
        return round(left + (x - x0) / ((x1 - x0) or 1) * (width - left - right), 1)

    def py(y: float) -> float:
        return round(height - bottom - (y - y0) / (y1 - y0) * (height - top - bottom), 1)

    parts = [_open(title, width, height)]
    for tick in ticks(y0, y1, 4):
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{py(tick)}" y2="{py(tick)}"/>')
        parts.append(f'<text class="tick" x="{left - 6}" y="{py(tick) + 4}" text-anchor="end">{tick:g}</text>')
    for tick in ticks(x0, x1, 6):
        parts.append(f'<text class="tick" x="{px(tick)}" y="{height - bottom + 16}" text-anchor="middle">{tick:g}</text>')
    path = " ".join(f"{'M' if i == 0 else 'L'}{px(x)} {py(y)}" for i, (x, y) in enumerate(points))
    parts.append(f'<path class="line" d="{path}"/>')
    parts += [f'<circle class="dot" cx="{px(x)}" cy="{py(y)}" r="2.4"/>' for x, y in points] if len(points) <= 80 else []
    parts.append(f'<text class="axis" x="{(left + width - right) / 2}" y="{height - 6}" text-anchor="middle">{escape(x_label)}</text>')
    parts.append(
        f'<text class="axis" transform="translate(13 {(top + height - bottom) / 2}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'
    )
    return Markup("".join(parts) + "</svg>")  # noqa: S704 - every text in it went through escape


def intervals(
    rows: Sequence[Interval],
    *,
    title: str,
    unit: str,
    reference: float | None = None,
    within: tuple[float, float] | None = None,
    width: int = 640,
) -> Markup:
    """One line a figure: the point and its interval; `reference` draws a line to compare with, such as 0 for a difference. `within`: between
    which numbers all of such figures lie, such as 0 and 100 for shares in %: the axis ends there.
    """
    if not rows:
        return Markup("")
    values = [v for row in rows for v in (row.low, row.high)] + ([reference] if reference is not None else [])
    low, high = min(values), max(values)
    pad = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    low, high = low - pad, high + pad
    if within is not None:
        low, high = max(low, within[0]), min(high, within[1])
    left, right, line = 200, 20, 34
    height = line * len(rows) + 44

    def px(x: float) -> float:
        return round(left + (x - low) / (high - low) * (width - left - right), 1)

    parts = [_open(title, width, height)]
    for tick in ticks(low, high):
        parts.append(f'<line class="grid" x1="{px(tick)}" x2="{px(tick)}" y1="6" y2="{height - 36}"/>')
        parts.append(f'<text class="tick" x="{px(tick)}" y="{height - 22}" text-anchor="middle">{tick:g}</text>')
    if reference is not None:
        parts.append(f'<line class="reference" x1="{px(reference)}" x2="{px(reference)}" y1="4" y2="{height - 36}"/>')
    for index, row in enumerate(rows):
        y = 22 + index * line
        parts.append(f'<text class="label" x="{left - 12}" y="{y + 4}" text-anchor="end">{escape(row.label)}</text>')
        parts.append(f'<line class="interval" x1="{px(row.low)}" x2="{px(row.high)}" y1="{y}" y2="{y}"/>')
        parts += [f'<line class="interval" x1="{px(x)}" x2="{px(x)}" y1="{y - 5}" y2="{y + 5}"/>' for x in (row.low, row.high)]
        parts.append(f'<circle class="dot" cx="{px(row.value)}" cy="{y}" r="5"/>')
    parts.append(f'<text class="axis" x="{(left + width - right) / 2}" y="{height - 4}" text-anchor="middle">{escape(unit)}</text>')
    return Markup("".join(parts) + "</svg>")  # noqa: S704 - every text in it went through escape


def _open(title: str, width: int, height: int) -> str:
    return f'<svg class="chart" role="img" viewBox="0 0 {width} {height}" aria-label="{escape(title)}"><title>{escape(title)}</title>'
