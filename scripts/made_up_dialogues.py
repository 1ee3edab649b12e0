"""Write made-up conversations and replies as JSON lines, for `llmrec write` without real data.

    python scripts/made_up_dialogues.py conversation dialogues.jsonl
    python scripts/made_up_dialogues.py reply replies.jsonl

Films, genres and reviews are those of `data=synthetic`; every sentence is from a handful of forms.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.data.synthetic import Synthetic

OPENINGS = ("Hi! I liked {}.", "Hello, {} was great.", "I am in the mood for something like {}.")
ANSWERS = (
    "Then you should see {title}, another {genre} film.",
    "Have you seen {title}? It is a {genre} film, too.",
)
GOODBYES = ("Thank you, I will watch it.", "Sounds good, bye!")


def conversations(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return n dialogues in the form of ReDial: a film is liked, one of its genre recommended."""
    rng = np.random.default_rng(seed)
    films = Synthetic(n_users=8, n_items=60, n_interactions_per_user=5).load().item_fields
    titles, genres = films["title"], films["genres"]
    found = []
    for number in range(n):
        liked = int(rng.integers(len(titles)))
        others = np.flatnonzero((genres == genres[liked]) & (titles != titles[liked]))
        if not len(others):
            continue
        best = int(rng.choice(others))
        answer = str(rng.choice(ANSWERS)).format(title=f"@{best}", genre=genres[best].lower())
        turns = [
            (1, str(rng.choice(OPENINGS)).format(f"@{liked}")),
            (2, answer),
            (1, str(rng.choice(GOODBYES))),
            (2, "Enjoy the film!"),
        ]
        found.append(
            {
                "conversationId": number,
                "initiatorWorkerId": 1,
                "movieMentions": {str(each): str(titles[each]) for each in (liked, best)},
                "messages": [{"senderWorkerId": who, "text": text} for who, text in turns],
            }
        )
    return found


def replies(n: int, seed: int = 0) -> list[dict[str, str]]:
    """Return n made-up reviews and a reply to what each praises or complains of."""
    data = Synthetic(n_users=n, n_items=60, n_interactions_per_user=1, texts=True, seed=seed).load()
    assert data.interactions.text is not None
    found = []
    for number, review in enumerate(map(str, data.interactions.text[:n])):
        words = review.partition(".")[0].split()
        aspect, verdict = words[words.index("is") - 1], words[-1]
        if " of " in review:
            aspect = words[1]
        reply = f"We are sorry that you found the {aspect} {verdict}."
        if "would watch" in review:
            reply = f"Thank you! We are glad that you found the {aspect} {verdict}."
        found.append({"given": review, "text": reply, "group": str(number)})
    return found


def main() -> None:
    """Write the kind and file that the command line names."""
    kind, path = sys.argv[1:]
    rows = conversations(400) if kind == "conversation" else replies(400)
    lines = [json.dumps(row) for row in rows]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
