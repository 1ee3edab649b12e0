"""Text prompts: rendered as written, cut from the front, and safe to take from a config."""

from __future__ import annotations

import lm_cases
import numpy as np
import pytest

from llmrec.backbones.tokenizers import train_tokenizer
from llmrec.core.config import check
from llmrec.core.errors import ConfigError, DataError
from llmrec.core.types import Ragged
from llmrec.prompts.text import Text

ITEMS = [
    {"title": "Alien", "year": "1979"},
    {"title": "Brazil", "year": "1985"},
    {"title": "Contact", "year": "1997"},
]
HISTORIES = Ragged.from_rows([[0, 1, 2], [], [2]])
RATINGS = Ragged.from_rows([[5, 3, 1], [], [4]], np.float32)


def test_the_default_prompt() -> None:
    prompts = Text().render(ITEMS, HISTORIES, None, np.array([1, 0, 1]))
    assert prompts == [
        "The user's history, oldest first: Alien; Brazil; Contact. Will the user like Brazil?",
        "The user is new. Will the user like Alien?",
        "The user's history, oldest first: Contact. Will the user like Brazil?",
    ]
    assert Text().render(ITEMS, HISTORIES, None, None)[1] == "The user is new."


def test_a_template_of_ones_own_sees_fields_and_ratings() -> None:
    text = Text(
        template="{% for i in history %}{{ i.title }} ({{ i.year }}): {{ i.rating }}\n{% endfor %}",
        question="{{ candidate.title }} after {{ history | length }}?",
        history_length=2,
    )
    prompts = text.render(ITEMS, HISTORIES, RATINGS, np.array([0, 2, 1]))
    assert prompts[0] == "Brazil (1985): 3.0\nContact (1997): 1.0\n Alien after 2?"
    assert prompts[1] == " Contact after 0?"
    without = text.render(ITEMS, HISTORIES, None, None)
    assert without[2] == "Contact (1997): None\n"


def test_a_field_that_the_items_lack_is_named_with_those_they_have() -> None:
    text = Text(template="{{ history[0].director }}")
    with pytest.raises(DataError, match=r"director.*fields of an item: title, year"):
        text.render(ITEMS, HISTORIES, None, None)


@pytest.mark.parametrize(
    ("key", "template", "what"),
    [
        (
            "template",
            "{{ histroy }}",
            'unknown name "histroy" (did you mean "history"?); allowed: history',
        ),
        ("question", "{{ user }}", 'unknown name "user"'),
        ("template", "{% if history %}", "not a valid Jinja template"),
        ("template", "{{ history | shout }}", "shout"),
        ("template", "{{ candidate.title }}", "only the question may"),
    ],
)
def test_a_bad_template_is_refused_before_anything_loads(
    key: str, template: str, what: str
) -> None:
    (problem,) = check("prompt", {"name": "text", key: template})
    assert problem.where == key
    assert what in problem.what
    with pytest.raises(ConfigError):
        Text(**{key: template})


@pytest.mark.parametrize(
    "template",
    [
        "{{ history.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ history.append(1) }}",
        "{{ history.clear() }}",
        "{{ range(1000000000) | list }}",
        "{{ 1 / 0 }}",
        "{{ 1 + 'a' }}",
    ],
)
def test_a_template_cannot_reach_out_of_the_sandbox(template: str) -> None:
    text = Text(template=template)
    with pytest.raises(DataError, match="the prompt template cannot be filled"):
        text.render(ITEMS, HISTORIES, None, None)


def test_ranges_are_checked() -> None:
    for options in ({"max_length": 0}, {"history_length": -1}):
        with pytest.raises(ConfigError, match="at least"):
            Text(**options)


def test_long_prompts_keep_their_end_and_are_counted() -> None:
    tokenizer = train_tokenizer("bpe", ["alpha beta gamma delta"], 300)
    text = Text(max_length=5)
    prompts = [(history, None) for history in ("alpha beta gamma delta", "a", "")]
    rows, cuts = text.tokenise(tokenizer, prompts, [1], [2])
    whole = tokenizer("alpha beta gamma delta", add_special_tokens=False)["input_ids"]
    assert len(whole) > 3
    assert rows[0].tolist() == [1, *whole[-3:], 2]
    assert rows[1].tolist() == [1, *tokenizer("a")["input_ids"], 2]
    assert rows[2].tolist() == [1, 2]
    assert cuts.tolist() == [len(whole) - 3, 0, 0]
    assert not len(text.tokenise(tokenizer, [], [1], [2])[1])


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
def test_a_question_is_never_cut(kind: str) -> None:
    tokenizer = train_tokenizer(kind, ["alpha beta gamma delta epsilon zeta"], 300)
    history, question = "alpha beta gamma", "delta epsilon"
    whole, shown = tokenizer([f"{history} {question}", history], add_special_tokens=False)[
        "input_ids"
    ]
    asked = len(whole) - len(shown)
    rows, cuts = Text(max_length=asked + 3).tokenise(tokenizer, [(history, question)], [1], [2])
    assert rows[0].tolist() == [1, *whole[len(shown) - 1 :], 2]
    assert cuts.tolist() == [len(shown) - 1]
    rows, cuts = Text(max_length=asked + 2).tokenise(tokenizer, [(history, question)], [1], [2])
    assert rows[0].tolist() == [1, *whole[len(shown) :], 2]
    with pytest.raises(DataError, match=f"a question of {asked} tokens.*leaves {asked - 1}"):
        Text(max_length=asked + 1).tokenise(tokenizer, [(history, question)], [1], [2])


def test_a_model_whose_questions_do_not_fit_is_not_trained() -> None:
    split = lm_cases.split()
    model = lm_cases.model(head="yes_no", prompt="text", parts={"prompt": {"max_length": 6}})
    with pytest.raises(DataError, match=r'"Will the user like .*raise prompt\.max_length'):
        model.fit(split.train)


def test_how_many_prompts_were_cut_is_reported() -> None:
    split = lm_cases.split()
    cut = lm_cases.model(prompt="text", parts={"prompt": {"max_length": 4}})
    whole = lm_cases.model(prompt="text", parts={"prompt": {"max_length": 120}})
    details = cut.fit(split.train).info.details
    assert details["prompts_cut"] == details["n_examples"] > 0
    assert whole.fit(split.train).info.details["prompts_cut"] == 0


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
@pytest.mark.parametrize("head", ["next", "title", "yes_no"])
def test_a_template_that_renders_to_nothing_is_answered(name: str, head: str) -> None:
    if (name, head) == ("bert", "title"):
        return  # refused, as the matrix of combinations shows
    template = "{{ history | map(attribute='title') | join(' ') }}"
    split = lm_cases.split()
    parts = {"prompt": {"template": template, "question": ""}}
    model = lm_cases.model(name, "full", head, "text", parts=parts).fit(split.train)
    queries = type(lm_cases.queries()).from_histories([[], [1, 2], []])
    scores = model.score(queries)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores[0], scores[2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores[0], model.score(queries.take([2]))[0], rtol=1e-4, atol=1e-4)
