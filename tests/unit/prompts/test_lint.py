from __future__ import annotations

import pytest

from llmrec.core.errors import ConfigError
from llmrec.prompts.lint import lint
from llmrec.prompts.text import Text

ITEMS = [{"title": f"Film {n}", "year": str(1980 + n) if n else ""} for n in range(30)]


def problems(template: str, *, rated: bool = True, **options) -> list[str]:
    return lint(Text(template=template, **options), ITEMS, rated=rated)


CLEAN = [
    "{{ history | map(attribute='title') | join }}",
    "{% for i in history %}{{ i.title }} {{ i['year'] }} {{ i.rating }}{% endfor %}",
    "{% if history %}{% set last = history | last %}{{ last.title }}{% endif %}",
    "{% for i in history[-3:] %}{{ i.title }}{% endfor %}",
    "{% for i in history | sort(attribute='rating') | reverse %}{{ i.title }}{% endfor %}",
    "{% for i in history | selectattr('year') %}{{ i.get('title') }}{% endfor %}",
    "{{ history | length }} {{ history | sum(attribute='rating') }}",
    "{% if history %}{{ history[0].title }}{% endif %}",
]


@pytest.mark.parametrize("template", CLEAN)
def test_clean_templates(template: str) -> None:
    assert problems(template) == []


UNKNOWN = [
    ("{% for i in history %}{{ i.plot }}{% endfor %}", "plot"),
    ("{% for i in history[-3:] %}{{ i['plot'] }}{% endfor %}", "plot"),
    ("{% for i in history | reverse %}{{ i.plot }}{% endfor %}", "plot"),
    ("{{ history | map(attribute='plot') | join }}", "plot"),
    ("{% for i in history | selectattr('plot') %}{{ i.title }}{% endfor %}", "plot"),
    ("{% for i in history | sort(attribute='year,plot') %}{{ i.title }}{% endfor %}", "plot"),
    ("{% if history %}{{ (history | first).plot }}{% endif %}", "plot"),
    ("{% if history %}{{ history[0].plot }}{% endif %}", "plot"),
    ("{% set last = history | last %}{% if history %}{{ last.plot }}{% endif %}", "plot"),
    # A branch that no history reaches.
    (
        "{{ history | length }}{% if history | length > 9999 %}{{ history[0].plot }}{% endif %}",
        "plot",
    ),
]


@pytest.mark.parametrize(("template", "field"), UNKNOWN)
def test_unknown_fields(template: str, field: str) -> None:
    (found,) = problems(template)
    assert found.startswith(f'template: unknown field of an item "{field}"')
    assert "rating, title, year" in found


def test_a_close_field_is_suggested() -> None:
    (found,) = problems("{{ history | map(attribute='titel') | join }}")
    assert 'did you mean "title"' in found


def test_a_template_that_fails_on_an_empty_history() -> None:
    (found,) = problems("{{ history[0].title }}")
    assert "tried with a history of 0 items" in found


def test_ratings_that_the_data_lacks() -> None:
    template = "{% for i in history %}{% if i.rating > 3 %}{{ i.title }}{% endif %}{% endfor %}"
    assert problems(template) == []
    (found,) = problems(template, rated=False)
    assert "tried with a history of 1 items" in found


def test_the_question() -> None:
    def asked(question: str, asks: bool = True) -> list[str]:
        return lint(Text(question=question), ITEMS, rated=True, asks=asks)

    assert asked("{{ candidate.title }}?") == []
    assert asked("{{ candidate.rating }}?")[0].startswith("question: unknown field")
    assert asked("{{ candidate.plot }}?")[0].startswith("question: unknown field")
    assert asked("{{ candidate.plot }}?", asks=False) == []
    assert "never names the candidate" in asked("Good?")[0]
    assert asked("Good?", asks=False) == []


def test_a_template_without_history() -> None:
    (found,) = problems("The user likes films.")
    assert "all users get one prompt" in found


@pytest.mark.parametrize("name", ["target", "answer", "label"])
def test_the_target_cannot_be_named(name: str) -> None:
    with pytest.raises(ConfigError, match="a prompt cannot name what it asks for"):
        Text(template=f"{{{{ {name}.title }}}}")
