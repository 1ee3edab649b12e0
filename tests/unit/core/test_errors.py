from __future__ import annotations

from llmrec.core.errors import ConfigError, LlmrecError, Problem, UnknownNameError, did_you_mean


def test_one_problem_is_one_sentence() -> None:
    assert str(ConfigError([Problem("models.ease", "is wrong")])) == "models.ease: is wrong"
    assert str(ConfigError("is wrong")) == "is wrong"


def test_many_problems_are_listed_in_order() -> None:
    error = ConfigError([Problem("a", "first"), Problem("b", "second")])
    assert str(error) == "2 problems in the config:\n  - a: first\n  - b: second"
    assert [problem.where for problem in error.problems] == ["a", "b"]


def test_suggestions_ignore_case_and_dashes_but_not_meaning() -> None:
    assert did_you_mean("Leave-One-Out", ["leave_one_out", "random"]) == (
        ' (did you mean "leave_one_out"?)'
    )
    assert did_you_mean("zzz", ["leave_one_out"]) == ""


def test_unknown_name_is_a_lookup_error_whose_text_is_not_quoted_again() -> None:
    error = UnknownNameError('unknown model "x"')
    assert isinstance(error, LookupError)
    assert isinstance(error, LlmrecError)
    assert str(error) == 'unknown model "x"'
