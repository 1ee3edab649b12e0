"""Names beside points and lines that do not cover each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

_SIZE = 8.0


def spread(
    axes: Any, x: float, ends: Sequence[float], names: Sequence[str], colours: Sequence[str]
) -> None:
    """Write each name to the right of the end of its line, moved apart where they would overlap.

    Args:
        axes: matplotlib axes whose limits are final.
        x: where the lines end.
        ends: height of each end.
        names: one per line.
        colours: one per line.
    """
    figure = axes.figure
    texts = [
        axes.annotate(
            name, (x, y), xytext=(10, 0), textcoords="offset points", color=colour,
            va="center", fontsize=_SIZE, annotation_clip=False,
        )
        for name, y, colour in zip(names, ends, colours, strict=True)
    ]  # fmt: skip
    figure.draw_without_rendering()
    points_per_pixel = 72 / figure.dpi
    wanted = axes.transData.transform([(x, y) for y in ends])[:, 1] * points_per_pixel
    placed = apart(wanted, 1.25 * _SIZE)
    for text, y, end, colour in zip(texts, placed, wanted, colours, strict=True):
        text.set_position((10, y - end))
        if abs(y - end) > 1:
            text.arrow_patch = None
            axes.annotate(
                "", (x, text.xy[1]), xytext=(9, y - end), textcoords="offset points",
                annotation_clip=False,
                arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6,
                            "shrinkA": 0, "shrinkB": 0, "alpha": 0.7},
            )  # fmt: skip


def apart(wanted: np.ndarray, gap: float) -> np.ndarray:
    """Return places at least `gap` apart, in the same order, near the wanted ones.

    Overlapping neighbours merge into a block that stays centred on the mean of its wishes.

    Example:
        >>> apart(np.array([0.0, 1.0, 50.0]), 10.0).tolist()
        [-4.5, 5.5, 50.0]
    """
    order = np.argsort(wanted, kind="stable")
    blocks: list[list[float]] = []  # wishes of the members, each less its offset in the block
    for value in np.asarray(wanted, float)[order]:
        blocks.append([float(value)])
        while len(blocks) > 1 and _start(blocks[-2], gap) + gap * len(blocks[-2]) > _start(
            blocks[-1], gap
        ):
            last = blocks.pop()
            blocks[-1].extend(last)
    places = np.empty(len(wanted))
    done = 0
    for block in blocks:
        size = len(block)
        places[order[done : done + size]] = _start(block, gap) + gap * np.arange(size)
        done += size
    return places


def _start(block: list[float], gap: float) -> float:
    return float(np.mean(block)) - gap * (len(block) - 1) / 2


def place_beside(
    axes: Any, x: np.ndarray, y: np.ndarray, names: Sequence[str], radii: Sequence[float]
) -> None:
    """Write each name near its point, at the first of many places that covers nothing yet.

    Args:
        axes: matplotlib axes whose limits are final.
        x: (N,) data.
        y: (N,) data.
        names: one per point.
        radii: of the markers, in points.
    """
    figure = axes.figure
    figure.draw_without_rendering()
    scale = figure.dpi / 72
    renderer = figure.canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    centres = axes.transData.transform(np.column_stack([x, y]))
    taken = [
        (cx - r * scale, cy - r * scale, cx + r * scale, cy + r * scale)
        for (cx, cy), r in zip(centres, radii, strict=True)
    ]
    for place in np.argsort(-np.asarray(y), kind="stable"):
        name, radius = names[place], radii[place]
        text = axes.annotate(
            name, (x[place], y[place]), xytext=(0, 0), textcoords="offset points", fontsize=_SIZE,
            ha="center", va="center", annotation_clip=False,
        )  # fmt: skip
        box = text.get_window_extent(renderer)
        width, height = box.width, box.height
        best, least = (0.0, 0.0), math.inf
        for dx, dy, detour in _offsets(radius * scale, width, height, scale):
            cx, cy = centres[place][0] + dx, centres[place][1] + dy
            rectangle = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
            cost = detour + sum(_overlap(rectangle, other) for other in taken)
            cost += 10 * _outside(rectangle, frame)
            if cost < least:
                best, least, chosen = (dx, dy), cost, rectangle
        taken.append(chosen)
        text.set_position((best[0] / scale, best[1] / scale))
        if math.hypot(max(abs(best[0]) - width / 2, 0), best[1]) > (radius + 14) * scale:
            axes.annotate(
                "", (x[place], y[place]), xytext=(best[0] / scale, best[1] / scale),
                textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": "#8c8a85", "linewidth": 0.6,
                            "shrinkA": 6, "shrinkB": radius},
            )  # fmt: skip


def _offsets(
    radius: float, width: float, height: float, scale: float
) -> list[tuple[float, float, float]]:
    """Return (dx, dy, cost) of the label's centre in pixels, the nearest and usual places first."""
    found = []
    for ring in range(6):
        gap = radius + (3 + 9 * ring) * scale
        side, up = gap + width / 2, gap + height / 2
        places = [(side, 0), (-side, 0), (0, up), (0, -up)]
        places += [(sx * side, sy * up) for sx in (1, -1) for sy in (1, -1)]
        found += [(dx, dy, 40.0 * ring + rank) for rank, (dx, dy) in enumerate(places)]
    return found


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Return the shared area of two rectangles in square pixels, with a fixed charge for any."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return 300.0 + width * height if width > 0 and height > 0 else 0.0


def _outside(a: tuple[float, ...], frame: Any) -> float:
    return float(
        max(0.0, frame.x0 - a[0])
        + max(0.0, a[2] - frame.x1)
        + max(0.0, frame.y0 - a[1])
        + max(0.0, a[3] - frame.y1)
    )
