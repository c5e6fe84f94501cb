"""Draws the medians as bars, in SVG that light and dark pages can show."""

from __future__ import annotations

import math
from html import escape
from typing import Final

from benchmarks.results import Results

__all__ = ["picture"]

_ROW: Final = 22
_LEFT: Final = 330
_WIDTH: Final = 380
_COLORS: Final = {"xagent": "#2f81f7", "no sandbox": "#3fb950"}


def picture(results: Results) -> str:
    """Python's rows, the fastest first, on a logarithmic scale from 1 ms."""
    rows = sorted(
        (found.p50 * 1000, f"{name} ({group})".replace("`", "").replace(" (bare)", ""))
        for (group, language, name), found in results.latencies.items()
        if language == "python"
    )
    most = max((milliseconds for milliseconds, _ in rows), default=1.0)
    scale = _WIDTH / max(1.0, math.log10(max(10.0, most)))
    height = _ROW * len(rows) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 90} {height}" '
        'font-family="sans-serif" font-size="12" fill="#768390">',
        '<text x="4" y="16">print(1) in Python, call to result: median ms, logarithmic scale</text>',
    ]
    for number, (milliseconds, name) in enumerate(rows):
        top = 28 + number * _ROW
        width = max(2.0, math.log10(max(1.0, milliseconds)) * scale)
        color = next((color for word, color in _COLORS.items() if name.startswith(word)), "#8b949e")
        parts += [
            f'<text x="{_LEFT - 8}" y="{top + 12}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="16" rx="2" fill="{color}"/>',
            f'<text x="{_LEFT + width + 6:.1f}" y="{top + 12}">{milliseconds:.1f}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
