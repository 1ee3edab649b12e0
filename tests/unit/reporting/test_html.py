from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from llmrec.core.errors import MissingExtraError
from llmrec.reporting import html as report
from llmrec.reporting.html import Example, ReportContext, render_report, write_report
from llmrec.reporting.verdict import verdict

CONTEXT = ReportContext(
    data={"items": 1682, "source": {"url": "folder", "n": [1, 2000]}, "has_times": True},
    leaks="the global future leaks in",
    versions={"numpy": "2.4.6"},
    config="models:\n  ease: {name: ease, note: <b>&}\n",
    history_lengths=np.arange(200),
    curves={"gpt2 items minilm": {"train loss": [(1, 3.0), (2, 2.0)]}},
    examples=[Example("196", ["Fargo <1996>"], ["Alien"], {"ease": ["Alien", "Big"]})],
)


@pytest.fixture(scope="module")
def written(comparison, tmp_path_factory):
    """Return the folder of a report with everything, drawn once."""
    folder = tmp_path_factory.mktemp("run")
    write_report(comparison, folder, context=CONTEXT)
    return folder


@pytest.fixture(scope="module")
def page(written):
    """Return the whole page."""
    return (written / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def no_plots(monkeypatch):
    """Leave the plots away, which take the time."""

    def absent(*_):
        raise MissingExtraError("a plot needs the package matplotlib: pip install 'llmrec[report]'")

    monkeypatch.setattr(report.plots, "metric_plot", absent)


VOID = {"meta", "link", "br", "img", "input", "hr"}


class _Page(HTMLParser):
    """Checks that tags nest, and gathers attributes and the cells of the first table."""

    def __init__(self, text):
        super().__init__()
        self.stack, self.attributes, self.tags = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag


def _words(text):
    return " ".join(
        re.sub(r"<[^>]*>", " ", re.sub(r"<(style|script).*?</\1>", "", text, flags=re.S)).split()
    )


def test_one_file_that_loads_nothing(written, page):
    assert [entry.name for entry in written.iterdir()] == ["report.html"]
    text = page
    assert not re.search(r"https?://", text)
    page = _Page(text)
    assert page.stack == []
    assert not {"link", "img", "iframe", "object"} & set(page.tags)
    for tag, key, value in page.attributes:
        if key in ("src", "href", "xlink:href", "srcset"):
            assert value.startswith("#"), (tag, key, value)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    ids = [value for _, key, value in page.attributes if key == "id"]
    assert len(ids) == len(set(ids))


def test_every_row_with_its_mark(comparison, page):
    for table in re.findall(r"<tbody>(.*?)</tbody>", page, flags=re.S):
        rows = re.findall(r"<tr.*?</tr>", table, flags=re.S)
        assert len(rows) == len(comparison.results)
        for row, result in zip(rows, comparison.results, strict=True):
            assert result.label.replace("&", "&amp;") in row
            assert ("random init" in row) == (result.info.weights == "random init")
    assert "weights: acme/bert-mini@0123456789abcdef0123" in page


def test_best_values_are_bold(page):
    assert "<strong>0.2420</strong>" in page
    assert "<strong>0.2294</strong>" not in page


def test_context_is_shown_and_escaped(page):
    text = page
    words = _words(text)
    assert "the global future leaks in" in words
    assert "{name: ease, note: &lt;b&gt;&amp;}" in text
    assert "Fargo &lt;1996&gt;" in text
    assert "items 1,682" in words
    assert "source url: folder; n: (1, 2,000)" in words
    assert "has times yes" in words
    assert 'class="hit">Alien ✓' in text
    assert "2.4.6" in words
    assert "<summary>gpt2 items minilm (random init)</summary>" in text
    assert text.count("<svg") == 5


def test_without_context_there_are_no_empty_parts(comparison, no_plots):
    text = render_report(comparison)
    for heading in ("Examples", "Training", "To rerun", "Beware"):
        assert heading not in _words(text)


@pytest.mark.parametrize(
    ("labels", "p"),
    [
        (None, 0.0002),
        (None, 0.4),
        (["ease", "random"], None),
        (["gpt2 items minilm", "bert & text_100%"], None),
        (["gpt2 items minilm"], None),
    ],
)
def test_the_page_answers_with_the_verdict(no_plots, make_comparison, labels, p):
    comparison = make_comparison(labels, p)
    text, answer = render_report(comparison, ReportContext()), verdict(comparison)
    escaped = answer.sentence.replace("&", "&amp;").replace("<", "&lt;").replace("'", "&#39;")
    assert escaped in text
    assert answer.headline in text


def test_accessible(page):
    page = _Page(page)
    svgs = [value for tag, key, value in page.attributes if tag == "svg" and key == "aria-label"]
    assert len(svgs) == page.tags.count("svg") == 5
    assert all(svgs)
    scopes = [value for tag, key, value in page.attributes if tag == "th" and key == "scope"]
    assert len(scopes) == page.tags.count("th")
    assert ("html", "lang", "en") in page.attributes


def test_without_matplotlib_the_page_says_so(comparison, no_plots):
    text = render_report(comparison, CONTEXT)
    assert "<svg" not in text
    assert "No plots: a plot needs the package matplotlib" in text
    assert "0.2420" in text


def test_the_same_comparison_gives_the_same_bytes(comparison, page):
    assert page == render_report(comparison, CONTEXT)
