"""A matplotlib figure as SVG inside an HTML page: takes its ink from the page, loads nothing."""

from __future__ import annotations

import html
import io
import re
from typing import Any

from llmrec.reporting.plots import COLOURS, INK, plot_style

_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def inline_svg(figure: Any, name: str, alt: str) -> str:
    """Return an ``<svg>`` element whose colours are ``currentColor`` and ``var(--FAMILY)``.

    Args:
        figure: a matplotlib figure.
        name: prefix of every id in it, unique in the page.
        alt: what the picture shows, for those who cannot see it.
    """
    stream = io.StringIO()
    with plot_style():
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    head, _, body = text.partition(">")
    view = re.search(r'viewBox="([^"]*)"', head)
    body = body.replace("xlink:href", "href").replace(INK, "currentColor")
    for family, colour in COLOURS.items():
        body = body.replace(colour, f"var(--{family})")
    body = re.sub(r"'DejaVu Sans'(, [^;\"]*)?", _FONTS, body)
    body = re.sub(r'id="([^"]*)"', rf'id="{name}-\1"', body)
    body = re.sub(r'href="#([^"]*)"', rf'href="#{name}-\1"', body)
    body = re.sub(r"url\(#([^)]*)\)", rf"url(#{name}-\1)", body)
    box = view.group(1) if view else "0 0 518 300"
    return f'<svg viewBox="{box}" role="img" aria-label="{html.escape(alt)}">{body}'
