"""Prompts that read the review: cut at its end, refused where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from llmrec.backbones.tokenizers import train_tokenizer
from llmrec.core.config import check
from llmrec.core.errors import ComponentError, DataError
from llmrec.core.types import Ragged
from llmrec.prompts.lint import lint
from llmrec.prompts.reviews import review_tokens
from llmrec.prompts.text import Text

ITEMS = [{"title": "Alien"}, {"title": "Brazil"}]
ALONE = {"template": "", "question": "{{ review or 'nothing' }}"}
ABOUT = {
    "template": "{% for i in history %}{{ i.title }} {% endfor %}",
    "question": "{{ candidate.title }}: {{ review }} Stars:",
}
REVIEW = "A fine film that I would watch again, with a friend or two"


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer("bpe", [REVIEW, "Alien Brazil nothing Stars:"] * 3, 300)


def tokens_of(text: Text, tokenizer, reviews, rows=None, frame=((), ())):
    histories = Ragged.from_rows(rows or [[]] * len(reviews))
    asked = (histories, None, np.ones(len(reviews), np.int64))
    return review_tokens(text, tokenizer, ITEMS, asked, reviews, frame)


def test_the_question_shows_the_review_of_its_row() -> None:
    histories = Ragged.from_rows([[0], [0, 1]])
    texts = Text(**ABOUT).render(ITEMS, histories, None, np.array([1, 0]), ["good", "bad"])
    assert texts == ["Alien  Brazil: good Stars:", "Alien Brazil  Alien: bad Stars:"]


def test_no_review_is_no_empty_review() -> None:
    histories = Ragged.from_rows([[0]])
    with pytest.raises(ComponentError, match="none is given here"):
        Text(**ABOUT).render(ITEMS, histories, None, np.array([1]))
    # what is said of the history alone has no question, and so no review
    assert Text(**ABOUT).render(ITEMS, histories, None, None) == ["Alien "]


def test_a_long_review_keeps_its_beginning(tokenizer) -> None:
    whole, uncut = tokens_of(Text(**ALONE), tokenizer, [REVIEW, "", "fine"])
    assert uncut.tolist() == [0, 0, 0]
    assert tokenizer.decode(whole[1]).strip() == "nothing"
    n = len(whole[0])
    short = Text(**ALONE, max_length=n - 4)
    rows, cuts = tokens_of(short, tokenizer, [REVIEW, "", "fine"])
    assert cuts.tolist() == [4, 0, 0]
    read = tokenizer.decode(rows[0]).strip()
    assert REVIEW.startswith(read)
    assert len(read) > 30
    assert len(rows[0]) <= n - 4
    more = REVIEW[: len(read)] + " ".join(REVIEW[len(read) :].split(" ")[:2])
    assert len(tokenizer(f" {more}", add_special_tokens=False)["input_ids"]) > n - 4
    assert rows[2].tolist() == whole[2].tolist()


def test_the_history_goes_before_the_review(tokenizer) -> None:
    rows, _ = tokens_of(Text(**ABOUT), tokenizer, [REVIEW], [[0]])
    question = len(tokens_of(Text(**ABOUT), tokenizer, [REVIEW])[0][0])
    text = Text(**ABOUT, max_length=question)
    cut, lost = tokens_of(text, tokenizer, [REVIEW], [[0] * 5])
    assert tokenizer.decode(cut[0]).strip() == f"Brazil: {REVIEW} Stars:"
    assert lost[0] > len(rows[0]) - question
    frame = ([1, 2], [3])
    cut, lost = tokens_of(text, tokenizer, [REVIEW], [[0] * 5], frame)
    read = tokenizer.decode(cut[0][2:-1]).strip()
    assert read.startswith("Brazil: A fine film")
    assert read.endswith("Stars:")
    assert len(cut[0]) <= question
    assert cut[0][:2].tolist() == [1, 2]


def test_writing_without_blanks_is_cut_as_well(tokenizer) -> None:
    text = Text(**ALONE, max_length=30)
    rows, cuts = tokens_of(text, tokenizer, ["fine" * 200])
    assert 0 < len(rows[0]) <= 30
    assert cuts[0] > 0


def test_a_question_that_is_too_long_by_itself_is_refused(tokenizer) -> None:
    text = Text(**ABOUT, max_length=2)
    with pytest.raises(DataError, match=r"does not fit.*only the history and the review are cut"):
        tokens_of(text, tokenizer, [REVIEW])


@pytest.mark.parametrize(
    ("key", "template", "what"),
    [
        ("template", "{{ review }}", "names the review; only the question may"),
        ("question", "{{ reviews }}", 'unknown name "reviews" (did you mean "review"?)'),
    ],
)
def test_where_a_review_may_be_named(key: str, template: str, what: str) -> None:
    (problem,) = check("prompt", {"name": "text", key: template})
    assert problem.where == key
    assert what in problem.what


def test_lint_of_a_prompt_that_reads_the_review_alone() -> None:
    def problems(**options: str) -> list[str]:
        return lint(Text(**options), ITEMS, rated=True, asks=True)

    assert problems(**ALONE) == []
    assert problems(template="", question="{{ review.upper() }}") == []
    assert problems(**ABOUT) == []
    (problem,) = problems(template="", question="{{ review.stars }} {{ review }}")
    assert problem == 'question: a review is plain text and has no field "stars"'
    assert "never names the history" in problems(template="", question="{{ candidate.title }}")[-1]
