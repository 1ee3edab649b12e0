"""Any text as LaTeX that every engine compiles."""

from __future__ import annotations

import unicodedata
from itertools import groupby
from typing import Literal

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    # A row that begins with one of these would be read as an option of the line before.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "–": "--",
    "−": "$-$",
    "…": r"\ldots{}",
    "·": r"\textperiodcentered{}",
    "×": r"$\times$",
}
LIGATURES = "-',"  # two of these would be set as another sign

# What pdfLaTeX prints with the encoding T1; it stops at any other character.
_ABSENT = {0x126, 0x127, 0x138, 0x13F, 0x140, 0x149, 0x166, 0x167, 0x17F}
_LATIN = {chr(code) for code in range(0xA0, 0x180) if code not in _ABSENT}
_KNOWN = _LATIN | set("ȘșȚț‐‑—‘’‚“”„†‡•‰‹›€™←↑→↓")

Kind = Literal["plain", "hidden", "other"]


def escape_latex(text: str) -> str:
    r"""Return text that LaTeX prints as it is.

    A character that pdfLaTeX does not know is named by its code there; LuaLaTeX and XeLaTeX get the
    character itself, and print it if their font has it.

    Example:
        >>> print(escape_latex("R&D_100%"))
        R\&D\_100\%
        >>> print(escape_latex("好"))
        \ifdefined\Umathchar 好\else {[}U+597D{]}\fi{}
    """
    words = unicodedata.normalize("NFC", " ".join(text.split()))
    return "".join(_run(kind, "".join(chars)) for kind, chars in groupby(words, _kind))


def _kind(char: str) -> Kind:
    if unicodedata.category(char) in ("Cc", "Cs"):
        return "hidden"
    return "plain" if char.isascii() or char in _ESCAPES or char in _KNOWN else "other"


def _run(kind: Kind, text: str) -> str:
    if kind == "plain":
        cells = [_ESCAPES.get(char, char) for char in text]
        for place in range(1, len(text)):
            if text[place] == text[place - 1] and text[place] in LIGATURES:
                cells[place] = "{}" + cells[place]
        return "".join(cells)
    codes = " ".join(f"U+{ord(char):04X}" for char in text)
    if kind == "hidden":
        return f"{{[}}{codes}{{]}}"
    return rf"\ifdefined\Umathchar {text}\else {{[}}{codes}{{]}}\fi{{}}"
