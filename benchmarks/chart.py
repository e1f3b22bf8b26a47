"""Horizontal bar charts as SVG: stacked panels, each with groups of bars and its own scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _LABELS, _MARGIN = 860, 250, 24
_BAR, _GAP, _GROUP, _SWATCH = 15, 3, 13, 16
_STYLE = "text { font: 13px Helvetica, Arial, sans-serif; fill: #1c232b } .small { font-size: 12px }"


@dataclass(frozen=True)
class Bar:
    """A value, and the text after its bar."""

    value: float
    written: str
    colour: str


@dataclass(frozen=True)
class Group:
    """Bars that share a label."""

    label: str
    bars: Sequence[Bar]
    bold: bool = False


@dataclass(frozen=True)
class Key:
    """A legend entry for bars in these colours."""

    name: str
    colours: tuple[str, ...]


@dataclass(frozen=True)
class Panel:
    """A panel. `room` is the width in pixels for the text after the longest bar. A legend of one key is not drawn."""

    title: str
    legend: Sequence[Key]
    groups: Sequence[Group]
    room: int = 150


def svg(title: str, panels: Sequence[Panel]) -> str:
    """Return the chart as SVG."""
    parts: list[str] = []
    at = 62
    for panel in panels:
        at = _draw(parts, panel, at) + 22
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {at}" width="{_WIDTH}" height="{at}" role="img">',
            f"<style>{_STYLE}</style>",
            f"<title>{escape(title)}</title>",
            f'<rect width="{_WIDTH}" height="{at}" fill="#ffffff"/>',
            f'<text x="{_MARGIN}" y="34" style="font-size: 16px; font-weight: bold">{escape(title)}</text>',
            *parts,
            "</svg>\n",
        ]
    )


def _draw(parts: list[str], panel: Panel, top: int) -> int:
    """Append the panel's elements, and return its bottom."""
    longest = max((bar.value for group in panel.groups for bar in group.bars), default=1.0) or 1.0
    parts.append(f'<text x="{_MARGIN}" y="{top + 12}" style="font-weight: bold">{escape(panel.title)}</text>')
    if len(panel.legend) > 1:
        _draw_legend(parts, panel.legend, top)
    at = top + 30
    for group in panel.groups:
        middle = at + (len(group.bars) * (_BAR + _GAP) - _GAP) / 2 + 4.5
        weight = ' style="font-weight: bold"' if group.bold else ""
        label = escape(group.label)
        parts.append(f'<text x="{_LABELS - 10}" y="{middle:.1f}" text-anchor="end"{weight}>{label}</text>')
        for bar in group.bars:
            length = max(1.0, bar.value / longest * (_WIDTH - _LABELS - panel.room))
            written = escape(bar.written)
            parts.append(f'<rect x="{_LABELS}" y="{at}" width="{length:.1f}" height="{_BAR}" fill="{bar.colour}"/>')
            parts.append(f'<text x="{_LABELS + length + 6:.1f}" y="{at + 12}" class="small">{written}</text>')
            at += _BAR + _GAP
        at += _GROUP - _GAP
    return at


def _draw_legend(parts: list[str], legend: Sequence[Key], top: int) -> None:
    at = _LABELS
    for key in legend:
        width = _SWATCH // len(key.colours)
        for number, colour in enumerate(key.colours):
            left = at + number * width
            parts.append(f'<rect x="{left}" y="{top + 2}" width="{width}" height="11" fill="{colour}"/>')
        parts.append(f'<text x="{at + 22}" y="{top + 12}" class="small">{escape(key.name)}</text>')
        at += 22 + 8 * len(key.name) + 14
