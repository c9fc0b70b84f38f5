"""Charts as SVG: lines over an axis of numbers, and horizontal bars.

Each chart brings its background and follows the reader's light or dark theme, so that it can be read wherever it is
shown. Lines are named where they end, not in a legend. Nothing here knows what is drawn.
"""

import math
from dataclasses import dataclass, field
from html import escape

FONT = '-apple-system, BlinkMacSystemFont, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif'

# For a light and for a dark background. Told apart by eyes that see no red or no green, and by their names beside them.
THEMES = {
    "light": {
        "background": "#ffffff", "frame": "#d1d9e0", "grid": "#e6eaef", "text": "#1f2328", "quiet": "#59636e",
        "hues": ["#0969da", "#6e7781", "#d4740a", "#1a8a4c", "#9a4fd1", "#cf3a5e", "#0b8a8f", "#7a6a1d"],
    },
    "dark": {
        "background": "#0d1117", "frame": "#3d444d", "grid": "#21262d", "text": "#f0f6fc", "quiet": "#9198a1",
        "hues": ["#4c9dff", "#8d96a0", "#f0953a", "#3fb96b", "#bd83f5", "#ff6f91", "#36bcc2", "#c9b458"],
    },
}

WIDTH = 840
LEFT = 74
TOP = 92
LABEL_GAP = 17


@dataclass
class Axis:
    """What an axis shows. `ticks` are values and their texts; `log` says how they are spread."""

    title: str
    ticks: list
    log: bool = True

    def place(self, value):
        """Where a value stands between the first tick (0) and the last one (1)."""
        first, last = self.ticks[0][0], self.ticks[-1][0]
        if self.log:
            return (math.log(value) - math.log(first)) / (math.log(last) - math.log(first))
        return (value - first) / (last - first)


@dataclass
class Series:
    """One line: its name, its colour's place in the themes, its points, and whether it is what the chart is about."""

    name: str
    hue: int
    points: list = field(default_factory=list)
    strong: bool = False
    dashed: bool = False


def lines(title, subtitle, x, y, series, height=430):
    """A chart of lines, each named at its right end."""
    series = [one for one in series if one.points]
    right = 30 + max((text_width(one.name, 13) for one in series), default=0)
    plot = Box(LEFT, TOP, WIDTH - LEFT - right, height - TOP - 62)
    parts = [head(title, subtitle, height), axes(plot, x, y)]
    for one in sorted(series, key=lambda one: one.strong):
        points = [(plot.x(x.place(a)), plot.y(y.place(b))) for a, b in one.points]
        classes = f"line hue{one.hue}" + (" strong" if one.strong else "") + (" dashed" if one.dashed else "")
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline class="{classes}" points="{path}"/>')
        if len(points) <= 12:
            radius = 4 if one.strong else 3
            parts += [f'<circle class="dot hue{one.hue}" cx="{a:.1f}" cy="{b:.1f}" r="{radius}"/>' for a, b in points]
    parts.append(end_labels(plot, x, y, series))
    return document(height, parts)


def end_labels(plot, x, y, series):
    """The names of the lines, where they end; moved apart where they would overlap, and then tied to their ends."""
    ends = []
    for one in series:
        a, b = one.points[-1]
        ends.append([plot.y(y.place(b)), plot.x(x.place(a)), one])
    ends.sort(key=lambda end: end[0])
    places = spread([end[0] for end in ends], LABEL_GAP, plot.top, plot.top + plot.height)
    parts = []
    for (height, across, one), place in zip(ends, places):
        start = plot.left + plot.width + 14
        if abs(place - height) > 4 or across < plot.left + plot.width - 1:
            parts.append(
                f'<path class="tie hue{one.hue}" d="M{across + 6:.1f},{height:.1f} L{start - 3:.1f},{place:.1f}"/>'
            )
        weight = " bold" if one.strong else ""
        parts.append(text(start, place + 4.5, one.name, f"label hue{one.hue}{weight}"))
    return "".join(parts)


def spread(wanted, gap, low, high):
    """Places near the wanted ones (ascending), each `gap` apart, between `low` and `high` if they fit."""
    places = []
    for place in wanted:
        places.append(max(place, places[-1] + gap) if places else max(place, low))
    limit = high
    for index in range(len(places) - 1, -1, -1):
        places[index] = min(places[index], limit)
        limit = places[index] - gap
    # What was pushed down only because of its neighbours above comes up half the way, group by group.
    index = 0
    while index < len(places):
        end = index + 1
        while end < len(places) and places[end] - places[end - 1] <= gap + 0.01:
            end += 1
        shift = sum(wanted[i] - places[i] for i in range(index, end)) / (end - index)
        floor = places[index - 1] + gap if index else low
        ceiling = places[end] - gap if end < len(places) else high
        shift = max(min(shift, ceiling - places[end - 1]), floor - places[index])
        for i in range(index, end):
            places[i] += shift
        index = end
    return places


@dataclass
class Bar:
    """One bar: its name and value, what is written behind it, its colour, and whether the chart is about it."""

    name: str
    value: float
    text: str
    hue: int
    strong: bool = False


def bars(title, subtitle, items):
    """Horizontal bars from zero."""
    row = 30
    top = TOP - 20
    height = top + row * len(items) + 24
    left = 34 + max((text_width(item.name, 13) for item in items), default=0)
    right = 30 + max((text_width(item.text, 13) for item in items), default=0)
    plot = Box(left, top, WIDTH - left - right, row * len(items))
    most = max([item.value for item in items] + [1e-9])
    parts = [head(title, subtitle, height)]
    for index, item in enumerate(items):
        top = plot.top + index * row
        width = max(plot.width * item.value / most, 2)
        weight = " bold" if item.strong else ""
        parts.append(text(left - 10, top + 18.5, item.name, "label plain end" + weight))
        parts.append(
            f'<rect class="bar hue{item.hue}" x="{left}" y="{top + 5}" width="{width:.1f}" height="{row - 10}" rx="3"/>'
        )
        parts.append(text(left + width + 8, top + 18.5, item.text, "label plain" + weight))
    return document(height, parts)


@dataclass
class Box:
    """The part of a chart that the axes enclose."""

    left: float
    top: float
    width: float
    height: float

    def x(self, place):
        return self.left + place * self.width

    def y(self, place):
        return self.top + (1 - place) * self.height


def axes(plot, x, y):
    parts = []
    for value, label in y.ticks:
        height = plot.y(y.place(value))
        parts.append(f'<path class="grid" d="M{plot.left},{height:.1f} H{plot.left + plot.width:.1f}"/>')
        parts.append(text(plot.left - 10, height + 4, label, "tick end"))
    bottom = plot.top + plot.height
    for value, label in x.ticks:
        across = plot.x(x.place(value))
        parts.append(f'<path class="grid" d="M{across:.1f},{plot.top} V{bottom + 5:.1f}"/>')
        parts.append(text(across, bottom + 21, label, "tick middle"))
    parts.append(f'<path class="axis" d="M{plot.left},{bottom:.1f} H{plot.left + plot.width:.1f}"/>')
    parts.append(text(plot.left + plot.width / 2, bottom + 43, x.title, "tick middle"))
    parts.append(text(plot.left, plot.top - 14, y.title, "tick"))
    return "".join(parts)


def log_ticks(low, high):
    """Ticks at 1 and 3 of each power of ten, at 1, 2, 3 and 5 if they are few, from below the lowest to above the highest."""
    exponent = math.floor(math.log10(low))
    factors = (1, 2, 3, 5) if high < 20 * low else (1, 3)
    ticks = []
    while not ticks or ticks[-1][0] <= high:
        for factor in factors:
            tick = factor * 10.0**exponent
            if not ticks or ticks[-1][0] <= high:
                ticks.append((tick, short(tick)))
        exponent += 1
    while len(ticks) > 2 and ticks[1][0] <= low:
        ticks.pop(0)
    return ticks


def short(value):
    """A round number with k and M."""
    for scale, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= scale:
            return f"{value / scale:g}{letter}"
    return f"{value:g}"


def head(title, subtitle, height):
    frame = f'<rect class="background" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>'
    return frame + text(22, 31, title, "title") + text(22, 51, subtitle, "tick")


def text(x, y, content, classes):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{classes}">{escape(content)}</text>'


def text_width(content, size):
    """About how wide a text is. No font is at hand, so it is guessed on the wide side."""
    return sum(0.34 if letter in "ijl.,:;'|! ()" else 0.62 for letter in content) * size


def document(height, parts):
    style = css(THEMES["light"]) + "@media (prefers-color-scheme: dark){" + css(THEMES["dark"]) + "}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img"><style>text{{font-family:{FONT};font-size:12.5px}}.title{{font-size:17px;font-weight:600}}'
        ".label{font-size:13px}.bold{font-weight:600}.end{text-anchor:end}.middle{text-anchor:middle}"
        ".line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}.strong{stroke-width:3.2}"
        ".dashed{stroke-dasharray:5 5}.tie{fill:none;stroke-width:1;opacity:.55}.grid{stroke-width:1}"
        f"{style}</style>" + "\n".join(parts) + "</svg>\n"
    )


def css(theme):
    rules = (
        f".background{{fill:{theme['background']};stroke:{theme['frame']}}}.grid{{stroke:{theme['grid']}}}"
        f".axis{{stroke:{theme['frame']};stroke-width:1.2}}text,.plain{{fill:{theme['text']}}}"
        f".tick{{fill:{theme['quiet']}}}"
    )
    for index, hue in enumerate(theme["hues"]):
        rules += f".line.hue{index},.tie.hue{index}{{stroke:{hue}}}"
        rules += f".dot.hue{index},.bar.hue{index},.label.hue{index}{{fill:{hue}}}"
    return rules
