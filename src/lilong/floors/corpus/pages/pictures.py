"""The corpus floor's pictures: how a signal is spread, and how a version came to be and what was made from it.

As in `ground.draw`, colours are the page's own (CSS classes), every text is escaped, and each picture has a table beside it. Kept bars are
full, dropped ones hollow, so that they can be told apart without colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.exploring.signals import Spread

_LEFT, _RIGHT = 64, 16


def histogram(
    spread: Spread, *, title: str, y_label: str, kept: str, dropped: str, mark: float | None = None, width: int = 760, height: int = 280
) -> Markup:
    """A bar for each bin, kept below and dropped above; lines at the limits of the policy and at `mark`, the limit that is tried."""
    if not spread.bins:
        return Markup("")
    named = bool(spread.bins[0].label)
    top, bottom = 34, 66 if named else 44
    most = height_of([one.kept + one.dropped for one in spread.bins])
    step = (width - _LEFT - _RIGHT) / len(spread.bins)

    def py(value: float) -> float:
        return round(height - bottom - value / most * (height - top - bottom), 1)

    parts = [_open(title, width, height), _legend(kept, dropped)]
    for tick in _steps(most):
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{py(tick)}" y2="{py(tick)}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{py(tick) + 4}" text-anchor="end">{_told(tick)}</text>')
    for number, one in enumerate(spread.bins):
        x, wide = round(_LEFT + number * step + 0.5, 1), round(max(step - 1.5, 1.0), 1)
        every, kept_here = min(one.kept + one.dropped, most), min(one.kept, most)
        parts.append(
            f"<g><title>{escape(label_of(spread, number))}: {one.kept:,} {escape(kept)}, {one.dropped:,} {escape(dropped)}</title>"
        )
        if one.kept:
            parts.append(f'<rect class="kept" x="{x}" y="{py(kept_here)}" width="{wide}" height="{max(py(0) - py(kept_here), 0.8):.1f}"/>')
        if one.dropped:
            parts.append(f'<rect class="lost" x="{x}" y="{py(every)}" width="{wide}" height="{max(py(kept_here) - py(every), 0.8):.1f}"/>')
        if one.kept + one.dropped > most:
            parts.append(f'<path class="cut" d="M{x - 3} {top + 13}l{wide + 6} -6"/><text class="tick" x="{x}" y="{top - 3}">{one.kept + one.dropped:,}</text>')
        parts.append("</g>")
    parts += _named(spread, step, height - bottom) if named else _edges(spread, step, height - bottom)
    limits = [(rule.drop.limit, "limit") for rule in spread.rules if isinstance(rule.drop.limit, float)] + (
        [(mark, "mark")] if mark is not None else []
    )
    for limit, kind in limits:
        at = None if named else _place(spread, float(limit))
        if at is not None:
            x = round(_LEFT + at * step, 1)
            parts.append(f'<line class="{kind}" x1="{x}" x2="{x}" y1="{top - 8}" y2="{height - bottom}"/>')
            parts.append(
                f'<text class="tick" x="{x + 4}" y="{top + 2}">{_told(float(limit))}</text>' if kind == "mark" else ""
            )
    middle = (top + height - bottom) / 2
    parts.append(f'<text class="axis" transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>')
    if not named:
        parts.append(
            f'<text class="axis" x="{(_LEFT + width - _RIGHT) / 2}" y="{height - 6}" text-anchor="middle">{escape(spread.signal)}</text>'
        )
    return _close(parts)


_FAR = 4


def height_of(counts: Sequence[int]) -> float:
    """What the axis goes up to. Where one bar is several times as high as all others, it is cut, or nothing else could be seen."""
    *others, most = sorted(counts)
    second = others[-1] if others else 0
    return 1.25 * second if second and most > _FAR * second else most or 1


def label_of(spread: Spread, number: int) -> str:
    """Which values a bin holds."""
    one = spread.bins[number]
    if one.label:
        return one.label
    last = number == len(spread.bins) - 1
    return f"{_told(one.low)} – {_told(one.high)}" if last else f"{_told(one.low)} ≤ … < {_told(one.high)}"


@dataclass(frozen=True, slots=True)
class Box:
    """Something on the way from sources to deployments. `more`: how many others stand behind it."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Stage:
    title: str
    boxes: Sequence[Box]
    more: int = 0


def lineage(stages: Sequence[Stage], *, title: str, and_more: str, width: int = 760) -> Markup:
    """Columns of boxes from the left to the right, each column made from the ones before it."""
    drawn = [stage for stage in stages if stage.boxes]
    if len(drawn) < 2:
        return Markup("")
    step, line, top = (width - 8) / len(drawn), 34, 26
    rows = max(len(stage.boxes) + bool(stage.more) for stage in drawn)
    height = top + rows * line + 6
    wide = step - 34
    letters = max(int(wide / 6.6), 4)
    parts = [_open(title, width, height)]
    for column, stage in enumerate(drawn):
        x, count = 4 + column * step, len(stage.boxes) + bool(stage.more)
        parts.append(f'<text class="axis" x="{x:.1f}" y="14">{escape(stage.title)}</text>')
        places = [top + (rows - count) * line / 2 + row * line for row in range(count)]
        if column:
            before = drawn[column - 1]
            many = len(before.boxes) + bool(before.more)
            parts += [
                f'<path class="way" d="M{x - 34:.1f} {top + (rows - many) * line / 2 + row * line + 13:.1f}C{x - 17:.1f} {top + (rows - many) * line / 2 + row * line + 13:.1f} {x - 17:.1f} {y + 13:.1f} {x:.1f} {y + 13:.1f}"/>'
                for row in range(many)
                for y in places
            ]
        for row, y in enumerate(places):
            told = stage.boxes[row].name if row < len(stage.boxes) else f"+ {stage.more:,} {and_more}"
            kind = "box" if row < len(stage.boxes) else "box more"
            parts.append(f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="26" rx="5"/>')
            parts.append(
                f'<text class="tick" x="{x + 7:.1f}" y="{y + 17:.1f}">{escape(_short(told, letters))}<title>{escape(told)}</title></text>'
            )
    return _close(parts)


def _named(spread: Spread, step: float, bottom: float) -> list[str]:
    return [
        f'<text class="tick" transform="translate({_LEFT + (number + 0.5) * step + 3:.1f} {bottom + 10:.1f}) rotate(-45)" text-anchor="end">{escape(_short(one.label, 12))}</text>'
        for number, one in enumerate(spread.bins)
    ]


def _edges(spread: Spread, step: float, bottom: float) -> list[str]:
    every = max(1, -(-len(spread.bins) // 8))
    places = [(number, one.low) for number, one in enumerate(spread.bins) if number % every == 0]
    if len(spread.bins) - places[-1][0] > every / 2:
        places.append((len(spread.bins), spread.bins[-1].high))
    return [
        f'<text class="tick" x="{_LEFT + at * step:.1f}" y="{bottom + 16:.1f}" text-anchor="{"end" if at == len(spread.bins) else "middle"}">{_told(value)}</text>'
        for at, value in places
    ]


def _place(spread: Spread, value: float) -> float | None:
    """Where a value lies, in bins from the left; None outside."""
    for number, one in enumerate(spread.bins):
        if one.low <= value <= one.high:
            return number + (value - one.low) / ((one.high - one.low) or 1)
    return None


def _legend(kept: str, dropped: str) -> str:
    return (
        f'<rect class="kept" x="{_LEFT}" y="4" width="14" height="10"/><text class="tick" x="{_LEFT + 19}" y="13">{escape(kept)}</text>'
        f'<rect class="lost" x="{_LEFT + 90}" y="4" width="14" height="10"/><text class="tick" x="{_LEFT + 109}" y="13">{escape(dropped)}</text>'
    )


def _steps(most: float, count: int = 4) -> list[float]:
    """Round numbers from 0 to `most`."""
    power = 10.0 ** (len(str(int(max(most / count, 1)))) - 1)
    step = max(round(most / count / power), 1) * power
    return [number * step for number in range(int(most / step) + 1)]


def _told(value: float) -> str:
    if value and abs(value) < 0.001:
        return f"{value:.1e}"
    if abs(value) >= 100_000:
        return f"{value / 1_000_000:.3g}M" if abs(value) >= 1_000_000 else f"{value / 1000:.0f}k"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _open(title: str, width: int, height: float) -> str:
    return f'<svg class="chart" role="img" viewBox="0 0 {width} {height:g}" aria-label="{escape(title)}"><title>{escape(title)}</title>'


def _close(parts: Sequence[str]) -> Markup:
    return Markup("".join(parts) + "</svg>")  # noqa: S704 - every text in it went through escape
