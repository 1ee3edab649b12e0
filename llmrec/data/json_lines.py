"""Reading of JSON lines: one object per line, every line kept or refused with its number."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from llmrec.core.errors import DataError, unknown
from llmrec.data.blocks import Block, blocks
from llmrec.data.tables import Kinds, Table, compact, joined


def read_json_lines(
    path: Path,
    fields: Sequence[str],
    content: bytes | None = None,
    *,
    numbers: Mapping[str, Kinds] | None = None,
) -> Table:
    """Read named fields of the objects of a file as strings, "" where one is null or absent.

    For logs of any size; texts, numbers and true/false become what one would write, anything
    deeper becomes JSON.

    Args:
        path: the file, gzip-compressed or not; only its name is used if `content` is given.
        fields: the keys to read.
        content: the bytes of the file, if they are known already.
        numbers: as of `read_table`.

    Raises:
        DataError: for an absent, empty, cut-off or wrongly encoded file, a line that is not an
            object, with its number, or a field that no line has.
    """
    schema = dict.fromkeys(fields, pl.String)
    frames: list[pl.DataFrame] = []
    filled = dict.fromkeys(fields, False)
    for block in blocks(path, content):
        try:
            frame = pl.read_ndjson(io.BytesIO(block.text), schema=schema)
        except pl.exceptions.PolarsError as error:
            _objects(path, block, json.loads)
            raise DataError(f"{path} cannot be read: {error}") from error
        if frame.height != block.n_lines:
            _objects(path, block, json.loads)
            raise DataError(
                f"{path} has {block.n_lines} lines, but {frame.height} objects could be read"
            )
        for name in fields:
            filled[name] |= frame[name].null_count() < frame.height
        frames.append(frame.fill_null(""))
        if len(frames) > 1:
            compact(frames, numbers or {})
    empty = [name for name in fields if not filled[name]]
    if empty:
        present = {
            key
            for block in blocks(path, content)
            for each in _objects(path, block, json.loads)
            for key in each
        }
        for name in empty:
            if name not in present:
                raise DataError(unknown(f"field of {path}", name, present))
    frame = joined(frames)
    return Table(path, frame, range(1, frame.height + 1))


def read_objects(
    path: Path,
    fields: Sequence[str] | None = None,
    content: bytes | None = None,
    *,
    python_literals: bool = False,
) -> Table:
    """Read what a file says about items or users as strings, of whatever shape its fields are.

    Lists become their members joined by ", " (nested ones flattened), objects ``key: value``.

    Args:
        path: the file, gzip-compressed or not.
        fields: the keys to read, those that no line has included; None reads all.
        content: the bytes of the file, if they are known already.
        python_literals: lines may be Python dictionaries (Amazon 2014) instead of JSON.

    Raises:
        DataError: as `read_json_lines`.
    """
    parse = _literal if python_literals else json.loads
    objects = [each for block in blocks(path, content) for each in _objects(path, block, parse)]
    names = fields or list(dict.fromkeys(key for each in objects for key in each))
    columns = {_whole(name): [_words(each.get(name)) for each in objects] for name in names}
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    return Table(path, frame, range(1, len(objects) + 1))


def _objects(path: Path, block: Block, parse: Callable[[str], Any]) -> list[dict[str, Any]]:
    found = []
    for number, line in enumerate(block.text.decode().split("\n"), start=block.line):
        try:
            value = parse(line)
        except (ValueError, SyntaxError, RecursionError) as error:
            said = getattr(error, "msg", None) or str(error)
            what = "an empty line" if not line.strip() else f"not a JSON object ({said})"
            raise DataError(f"{path}, line {number}: {what}") from error
        if not isinstance(value, dict):
            raise DataError(
                f"{path}, line {number}: expected a JSON object such as {{…}}, got {line[:40]!r}"
            )
        found.append(value)
    return found


def _literal(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return ast.literal_eval(line)


def _words(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, list | tuple):
        return ", ".join(word for word in map(_words, value) if word)
    if isinstance(value, dict):
        return ", ".join(f"{_whole(str(key))}: {_words(each)}" for key, each in value.items())
    return json.dumps(value)


def _whole(text: str) -> str:
    """Return a text with U+FFFD for halves of a character, which JSON can write (``\\ud83d``)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
