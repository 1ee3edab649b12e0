"""Component specs: a plain mapping checked against a constructor's signature, then built.

A spec is ``{"name": "lora", "rank": 8}``. The constructor's keyword-only parameters are the
schema: their names, types and defaults. Nested components are annotated with
``Annotated[Spec, ComponentOf("backbone")]``; a group of plain options with a dataclass.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from llmrec.core.errors import ConfigError, LlmrecError, Problem, unknown
from llmrec.core.registry import registry

Spec = Mapping[str, Any]


@dataclass(frozen=True)
class ComponentOf:
    """Marks a parameter that holds the spec of another component."""

    kind: str


SourceSpec = Annotated[Spec, ComponentOf("source")]
FilterSpec = Annotated[Spec, ComponentOf("filter")]
TextStepSpec = Annotated[Spec, ComponentOf("text_step")]
SplitterSpec = Annotated[Spec, ComponentOf("split")]
RecommenderSpec = Annotated[Spec, ComponentOf("recommender")]
BackboneSpec = Annotated[Spec, ComponentOf("backbone")]
AdapterSpec = Annotated[Spec, ComponentOf("adapter")]
HeadSpec = Annotated[Spec, ComponentOf("head")]
PromptSpec = Annotated[Spec, ComponentOf("prompt")]
DistillationSpec = Annotated[Spec, ComponentOf("distillation")]
RegularizerSpec = Annotated[Spec, ComponentOf("regularizer")]
FeatureSpec = Annotated[Spec, ComponentOf("feature")]
IdentifierSpec = Annotated[Spec, ComponentOf("identifier")]
CombinerSpec = Annotated[Spec, ComponentOf("combiner")]
TrackerSpec = Annotated[Spec, ComponentOf("tracker")]


@dataclass(frozen=True)
class Option:
    """One parameter of a component: its name, type and default (``inspect.Parameter.empty``)."""

    name: str
    annotation: Any
    default: Any

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty


def options_of(target: Any) -> Mapping[str, Option]:
    """Return the options of a component class (or dataclass, or function) by name.

    Raises:
        ConfigError: if the constructor takes ``*args`` or ``**kwargs``, which hide its schema.
    """
    return _signature(target)


@functools.cache
def _signature(target: Any) -> Mapping[str, Option]:
    """Read a signature, once: the check of nested specs asks for the same ones over and over."""
    call: Any = target.__init__ if inspect.isclass(target) else target
    hints = typing.get_type_hints(call, include_extras=True)
    found: dict[str, Option] = {}
    for parameter in inspect.signature(target).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigError(
                f"{target.__qualname__} takes *{parameter.name}: a component names its options"
            )
        annotation = hints.get(parameter.name, Any)
        found[parameter.name] = Option(parameter.name, annotation, parameter.default)
    return types.MappingProxyType(found)


def check(kind: str, spec: object, where: str = "") -> list[Problem]:
    """Return every problem of a component spec, nested components included.

    Args:
        kind: the registry to look ``name`` up in.
        spec: the mapping to check.
        where: dotted path of the spec in the config, for the messages.
    """
    if not isinstance(spec, Mapping):
        return [Problem(where, f"expected a {kind} (a mapping with a name), got {spec!r}")]
    name = spec.get("name")
    if not isinstance(name, str):
        names = ", ".join(registry(kind).names())
        return [Problem(where, f"a {kind} needs a name; allowed: {names}")]
    try:
        cls = registry(kind).get(name)
    except LlmrecError as error:
        return [Problem(_join(where, "name"), str(error))]
    params = {key: value for key, value in spec.items() if key != "name"}
    problems = check_options(cls, params, where, owner=f'{kind} "{name}"')
    return [*problems, *broken_rules(cls, params, where, problems)]


def broken_rules(
    cls: Any, params: Mapping[str, Any], where: str, known: Sequence[Problem]
) -> list[Problem]:
    """Apply a component's own rules to the options that are right, if none is missing."""
    rules = getattr(cls, "check_options", None)
    if rules is None:
        return []
    paths = [problem.where.removeprefix(f"{where}.") for problem in known]
    wrong = {_first(path) for path in paths}
    right = {key: value for key, value in params.items() if key not in wrong}
    if any(option.required and option.name not in right for option in options_of(cls).values()):
        return []
    # what a rule says of a wrong option is said of its absence
    return [
        Problem(_join(where, key), what) for key, what in rules(right) if _first(key) not in wrong
    ]


def _first(path: str) -> str:
    """Return the option that a dotted path begins with."""
    return re.split(r"[.\[]", path)[0]


def check_options(
    target: Callable[..., Any], params: Mapping[str, Any], where: str = "", owner: str = ""
) -> list[Problem]:
    """Return the problems of plain parameters against a signature."""
    options = options_of(target)
    owner = owner or target.__qualname__
    problems: list[Problem] = []
    for key, value in params.items():
        if key not in options:
            problems.append(
                Problem(_join(where, str(key)), unknown(f"key of {owner}", key, options))
            )
            continue
        problems.extend(check_value(value, options[key].annotation, _join(where, key)))
    for option in options.values():
        if option.required and option.name not in params:
            problems.append(Problem(_join(where, option.name), f"{owner} needs a value here"))
    return problems


def check_value(value: Any, annotation: Any, where: str) -> list[Problem]:
    """Return the problems of one value against one type annotation."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is Any or annotation is inspect.Parameter.empty:
        return []
    if origin is Annotated:
        marks = [mark for mark in args[1:] if isinstance(mark, ComponentOf)]
        return check(marks[0].kind, value, where) if marks else check_value(value, args[0], where)
    if origin in (Union, types.UnionType):
        tries = [check_value(value, member, where) for member in args]
        if any(not found for found in tries):
            return []
        deep = [found for found in tries if any(problem.where != where for problem in found)]
        return deep[0] if deep else [Problem(where, _expected(annotation, value))]
    if origin is Literal:
        if any(type(value) is type(choice) and value == choice for choice in args):
            return []
        return [Problem(where, unknown("value", str(value), [str(arg) for arg in args]))]
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        if isinstance(value, annotation):
            return []
        if not isinstance(value, Mapping):
            return [Problem(where, f"expected a mapping of options, got {value!r}")]
        return check_options(annotation, value, where, owner=where or annotation.__name__)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            return [Problem(where, _expected(annotation, value))]
        inner = args[1] if len(args) == 2 else Any
        return [p for k, v in value.items() for p in check_value(v, inner, _join(where, str(k)))]
    if origin is not None and issubclass(origin, Sequence):
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            return [Problem(where, _expected(annotation, value))]
        inner = args[0] if args else Any
        return [p for i, v in enumerate(value) for p in check_value(v, inner, f"{where}[{i}]")]
    return [] if _is_plain(value, annotation) else [Problem(where, _expected(annotation, value))]


def _is_plain(value: Any, annotation: Any) -> bool:
    if annotation is None or annotation is type(None):
        return value is None
    if annotation is float:
        return type(value) is int or (isinstance(value, float) and not math.isnan(value))
    if annotation in (int, bool, str):
        return type(value) is annotation
    if annotation is Path:
        return isinstance(value, str | Path)
    return isinstance(value, annotation) if isinstance(annotation, type) else True


def _expected(annotation: Any, value: Any) -> str:
    return f"expected {describe(annotation)}, got {value!r} ({type(value).__name__})"


def describe(annotation: Any) -> str:
    """Return a type annotation in words a config author reads.

    Example:
        >>> describe(int | None)
        'int or null'
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is None or annotation is type(None):
        return "null"
    if origin is Annotated:
        marks = [mark.kind for mark in args[1:] if isinstance(mark, ComponentOf)]
        return f"a {marks[0]}" if marks else describe(args[0])
    if origin in (Union, types.UnionType):
        return " or ".join(describe(member) for member in args)
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in args)
    if origin is not None and issubclass(origin, Mapping):
        return f"a mapping of {describe(args[1])}" if len(args) == 2 else "a mapping"
    if origin is not None and issubclass(origin, Sequence):
        return f"a list of {describe(args[0])}" if args else "a list"
    return getattr(annotation, "__name__", str(annotation))


def build(kind: str, spec: Spec, **supplied: Any) -> Any:
    """Check a spec and construct the component.

    Args:
        kind: the registry to look ``name`` up in.
        spec: ``{"name": …, **parameters}``.
        supplied: defaults given by the caller (such as a derived seed); used only where the
            constructor has such a parameter and the spec does not set it.

    Raises:
        ConfigError: with every problem found.
    """
    problems = check(kind, spec)
    if problems:
        raise ConfigError(problems)
    cls = registry(kind).get(spec["name"])
    options = options_of(cls)
    params = {key: value for key, value in spec.items() if key != "name"}
    for key, value in supplied.items():
        if key in options and params.get(key) is None:
            params[key] = value
    return cls(**{key: _convert(value, options[key].annotation) for key, value in params.items()})


def construct_check(component: Any) -> None:
    """Apply the rules of a config to a component that is constructed directly.

    Raises:
        ConfigError: with every problem of its attributes, which have the names of its options.
    """
    params = vars(component)
    problems = check_options(type(component), params)
    rules = getattr(component, "check_options", None)
    if rules is not None and not problems:
        problems = [Problem(key, what) for key, what in rules(params)]
    if problems:
        raise ConfigError(problems)


def _convert(value: Any, annotation: Any) -> Any:
    """Turn checked plain values into the types a constructor announces (dataclass, float, Path)."""
    for member in (
        get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else [annotation]
    ):
        if dataclasses.is_dataclass(member) and isinstance(member, type):
            if isinstance(value, Mapping):
                hints = options_of(member)
                return member(**{k: _convert(v, hints[k].annotation) for k, v in value.items()})
        elif member is float and type(value) is int:
            return float(value)
        elif member is Path and isinstance(value, str):
            return Path(value)
    return value


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
