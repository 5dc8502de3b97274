"""The scheduler's pictures: use over time, shares against quota, a job's life, its place on the topology, what policies do.

As in `ground.draw`, colours are the page's own (CSS classes), every text is escaped, and each picture has a table beside it.
`standalone` makes one a file of its own, with colours for light and dark inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from lilong.ground.draw import ticks

_LEFT, _RIGHT = 150, 16
_STRIPES = (
    '<defs><pattern id="stripes" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<path class="stripe" d="M0 0V6"/></pattern></defs>'
)
_SHOWN_POINTS = 600  # more cannot be told apart at this width


@dataclass(frozen=True, slots=True)
class Series:
    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Share:
    """What a tenant holds of a class, in devices (or cores). `nominal` None: no quota."""

    name: str
    depth: int
    used: float
    borrowed: float
    lent: float
    nominal: float | None


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a job's life; `kind`: waiting, running or stopped."""

    label: str
    begin: float
    end: float
    kind: str


@dataclass(frozen=True, slots=True)
class Spot:
    """A node on the map. `devices`: of each, own (this job's), other or free."""

    name: str
    domain: str
    devices: Sequence[str]


def heatmap(
    rows: Sequence[tuple[str, Sequence[float | None]]], hours: Sequence[str], *, title: str, unknown: str = "–", width: int = 760
) -> Markup:
    """Rows of shares from 0 to 1 over equal steps of time, the darker the fuller; None where nothing is known: striped, and told as `unknown`."""
    if not rows or not hours:
        return Markup("")
    line, top = 24, 8
    height = top + line * len(rows) + 26
    step = (width - _LEFT - _RIGHT) / len(hours)
    parts = [_open(title, width, height), _STRIPES]
    for at, (name, values) in enumerate(rows):
        y, hour = top + at * line, 0
        parts.append(f'<text class="label" x="{_LEFT - 10}" y="{y + 16}" text-anchor="end">{escape(_short(name))}</text>')
        while hour < len(values):
            value, next_ = values[hour], hour + 1
            while value is None and next_ < len(values) and values[next_] is None:
                next_ += 1
            kind = 'class="unknown" fill="url(#stripes)"'
            if value is not None:
                kind = f'class="heat" fill-opacity="{0.06 + 0.94 * max(0.0, min(value, 1.0)):.2f}"'
            when = hours[hour] if next_ == hour + 1 else f"{hours[hour]} – {hours[next_ - 1]}"
            x, wide = round(_LEFT + hour * step, 1), max((next_ - hour) * step - 1, 0.5)
            parts.append(
                f'<rect {kind} x="{x}" y="{y}" width="{wide:.1f}" height="{line - 3}"><title>{escape(name)}, {escape(when)}: '
                f"{escape(unknown) if value is None else f'{value:.0%}'}</title></rect>"
            )
            hour = next_
    every = max(1, len(hours) // 8)
    for hour in range(0, len(hours), every):
        x = round(_LEFT + (hour + 0.5) * step, 1)
        parts.append(f'<text class="tick" x="{x}" y="{height - 8}" text-anchor="middle">{escape(hours[hour][-5:])}</text>')
    return _close(parts)


def curves(
    series: Sequence[Series], *, title: str, x_label: str, y_label: str, width: int = 760, height: int = 300, log_x: bool = False
) -> Markup:
    """Lines over one another, each with its own dash as well as colour, so that it can be told apart in grey."""
    from math import log10

    drawn = [one for one in series if len(one.points) > 1]
    if not drawn:
        return Markup("")

    def place(x: float) -> float:
        return log10(max(x, 1.0)) if log_x else x

    xs = [place(x) for one in drawn for x, _ in one.points]
    x0, x1 = min(xs), max(xs)
    y1 = max(y for one in drawn for _, y in one.points) * 1.05 or 1.0
    left, top, bottom = 64, 14 + 18 * ((len(drawn) + 3) // 4), 42

    def px(x: float) -> float:
        return round(left + (place(x) - x0) / ((x1 - x0) or 1) * (width - left - _RIGHT), 1)

    def py(y: float) -> float:
        return round(height - bottom - y / y1 * (height - top - bottom), 1)

    parts = [_open(title, width, height)]
    for tick in ticks(0.0, y1):
        parts.append(f'<line class="grid" x1="{left}" x2="{width - _RIGHT}" y1="{py(tick)}" y2="{py(tick)}"/>')
        parts.append(f'<text class="tick" x="{left - 6}" y="{py(tick) + 4}" text-anchor="end">{_told(tick)}</text>')
    for tick in [10.0**power for power in range(int(x0), int(x1) + 1)] if log_x else ticks(x0, x1):
        if x0 <= place(tick) <= x1:
            parts.append(f'<text class="tick" x="{px(tick)}" y="{height - bottom + 16}" text-anchor="middle">{_told(tick)}</text>')
    for at, one in enumerate(drawn):
        x, y = left + (at % 4) * 172, 14 + 18 * (at // 4)
        parts.append(f'<path class="series s{at % 8}" d="M{x} {y - 4}H{x + 24}"/>')
        parts.append(f'<text class="label" x="{x + 30}" y="{y}">{escape(_short(one.name))}</text>')
        path = " ".join(f"{'M' if n == 0 else 'L'}{px(a)} {py(b)}" for n, (a, b) in enumerate(_thinned(one.points)))
        parts.append(f'<path class="series s{at % 8}" d="{path}"/>')
    parts.append(f'<text class="axis" x="{(left + width - _RIGHT) / 2}" y="{height - 6}" text-anchor="middle">{escape(x_label)}</text>')
    middle = (top + height - bottom) / 2
    parts.append(f'<text class="axis" transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>')
    return _close(parts)


def shares(rows: Sequence[Share], *, title: str, unit: str, width: int = 760) -> Markup:
    """One bar a tenant: what it holds of its own, what it borrows, what of its quota others hold now; a mark at its quota."""
    if not rows:
        return Markup("")
    line, top = 30, 6
    height = top + line * len(rows) + 40
    most = max([row.used for row in rows] + [row.nominal or 0 for row in rows]) or 1.0

    def px(value: float) -> float:
        return round(_LEFT + value / most * (width - _LEFT - _RIGHT), 1)

    parts = [_open(title, width, height)]
    for tick in ticks(0.0, most):
        parts.append(f'<line class="grid" x1="{px(tick)}" x2="{px(tick)}" y1="{top}" y2="{height - 36}"/>')
        parts.append(f'<text class="tick" x="{px(tick)}" y="{height - 22}" text-anchor="middle">{_told(tick)}</text>')
    for at, row in enumerate(rows):
        y, own = top + at * line + 4, row.used - row.borrowed
        parts.append(f'<text class="label" x="{8 + 12 * row.depth}" y="{y + 14}">{escape(_short(row.name))}</text>')
        for kind, begin, end in (("own", 0.0, own), ("borrowed", own, row.used)):
            if end > begin:
                parts.append(f'<rect class="{kind}" x="{px(begin)}" y="{y}" width="{px(end) - px(begin):.1f}" height="{line - 12}"/>')
        if row.nominal is not None:
            if row.lent:
                low = px(max(row.nominal - row.lent, 0))
                parts.append(f'<rect class="lent" x="{low}" y="{y + 2}" width="{px(row.nominal) - low:.1f}" height="{line - 16}"/>')
            parts.append(f'<line class="quota" x1="{px(row.nominal)}" x2="{px(row.nominal)}" y1="{y - 3}" y2="{y + line - 9}"/>')
    parts.append(f'<text class="axis" x="{(_LEFT + width - _RIGHT) / 2}" y="{height - 4}" text-anchor="middle">{escape(unit)}</text>')
    return _close(parts)


def timeline(spans: Sequence[Span], *, title: str, begin: str, end: str, width: int = 760) -> Markup:
    """A job's life on one line, from its submission to its end or to now."""
    if not spans:
        return Markup("")
    first, last = spans[0].begin, max(span.end for span in spans)
    height, left = 74, 16

    def px(at: float) -> float:
        return round(left + (at - first) / ((last - first) or 1) * (width - left - _RIGHT), 1)

    parts = [_open(title, width, height)]
    for span in spans:
        wide = max(px(span.end) - px(span.begin), 1.5)
        parts.append(
            f'<rect class="{escape(span.kind)}" x="{px(span.begin)}" y="12" width="{wide:.1f}" height="26"><title>{escape(span.label)}</title></rect>'
        )
        if wide > 9 * len(span.label):
            parts.append(f'<text class="on-bar" x="{px(span.begin) + 6}" y="30">{escape(span.label)}</text>')
    parts.append(f'<text class="tick" x="{left}" y="58">{escape(begin)}</text>')
    parts.append(f'<text class="tick" x="{width - _RIGHT}" y="58" text-anchor="end">{escape(end)}</text>')
    return _close(parts)


def placement(spots: Sequence[Spot], *, title: str, width: int = 760) -> Markup:
    """Nodes by domain, each with its devices: this job's filled, others' hatched by tone, free ones open."""
    if not spots:
        return Markup("")
    domains: dict[str, list[Spot]] = {}
    for spot in spots:
        domains.setdefault(spot.domain, []).append(spot)
    cell, parts, y = 15, [""], 8
    for domain, members in domains.items():
        parts.append(f'<text class="axis" x="8" y="{y + 12}">{escape(_short(domain, 60))}</text>')
        x, y = 16, y + 22
        for spot in members:
            wide = max(len(spot.devices) * cell + 12, 9 * len(spot.name) + 12, 44)
            if x + wide > width - 8:
                x, y = 16, y + 52
            parts.append(f'<rect class="node" x="{x}" y="{y}" width="{wide}" height="44" rx="5"/>')
            parts.append(f'<text class="tick" x="{x + 6}" y="{y + 14}">{escape(spot.name)}</text>')
            for at, kind in enumerate(spot.devices):
                parts.append(
                    f'<rect class="device {escape(kind)}" x="{x + 6 + at * cell}" y="{y + 22}" width="{cell - 3}" height="{cell - 1}"/>'
                )
            x += wide + 8
        y += 58
    parts[0] = _open(title, width, y)
    return _close(parts)


def standalone(picture: Markup) -> str:
    """A file of its own."""
    text = str(picture).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    at = text.index("</title>") + len("</title>")
    return f'{text[:at]}<style>{_OWN_COLOURS}</style><rect width="100%" height="100%" class="paper"/>{text[at:]}\n'


_LIGHT = {"paper": "#fffefb", "ink": "#1f2328", "soft": "#5a5f66", "line": "#dcd7cd"}
_DARK = {"paper": "#1e2125", "ink": "#e9e6e0", "soft": "#a9adb3", "line": "#33373d"}
_LINES = (("#a63c25", "#f08a70"), ("#1c5a8a", "#83bdf0"), ("#17694f", "#6fd0ab"), ("#855400", "#e6b458"), ("#6b3fa0", "#b89be0"), ("#5a5f66", "#a9adb3"), ("#0f6f78", "#67c7d1"), ("#9c2f6b", "#e78fbd"))  # fmt: skip
_DASHES = ("", "7 4", "2 3", "9 3 2 3", "", "7 4", "2 3", "9 3 2 3")


def _colours(words: dict[str, str], dark: bool) -> str:
    lines = "".join(f".s{at}{{stroke:{pair[dark]}}}" for at, pair in enumerate(_LINES))
    return f".paper{{fill:{words['paper']}}}.label,.on-bar{{fill:{words['ink']}}}.tick,.axis{{fill:{words['soft']}}}.grid{{stroke:{words['line']}}}{lines}"


_OWN_COLOURS = (
    "text{font:13px sans-serif}.tick{font-size:11px}.axis{font-size:12px}.series{fill:none;stroke-width:2}"
    + "".join(f".s{at}{{stroke-dasharray:{dash or 'none'}}}" for at, dash in enumerate(_DASHES))
    + _colours(_LIGHT, False)
    + f"@media(prefers-color-scheme:dark){{{_colours(_DARK, True)}}}"
)


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """As many as can be seen, the first and the last among them."""
    if len(points) <= _SHOWN_POINTS:
        return points
    step = (len(points) - 1) / (_SHOWN_POINTS - 1)
    return [points[round(at * step)] for at in range(_SHOWN_POINTS)]


def _told(value: float) -> str:
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if sign == 'k' else size):g}{sign}"
    return f"{round(value, 6):g}"


def _short(text: str, most: int = 20) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _open(title: str, width: int, height: int) -> str:
    return f'<svg class="chart" role="img" viewBox="0 0 {width} {height}" aria-label="{escape(title)}"><title>{escape(title)}</title>'


def _close(parts: Sequence[str]) -> Markup:
    return Markup("".join(parts) + "</svg>")  # noqa: S704 - every text in it went through escape
