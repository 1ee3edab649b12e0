"""A generated data set whose truth is known: how good the best recommender can be is no secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmrec.core.config import check_options
from llmrec.core.errors import ConfigError, Problem
from llmrec.core.types import Dataset, Interactions, Queries
from llmrec.data.synthetic_texts import with_texts

GENRE_WORDS = {
    "Space": "Comet Galaxy Meteor Nebula Orbit Planet Quasar Rocket Satellite Starship",
    "Western": "Bandit Canyon Cowboy Desperado Frontier Outlaw Rancher Saddle Saloon Sheriff",
    "Crime": "Alibi Detective Evidence Gangster Heist Mobster Motive Suspect Verdict Witness",
    "Romance": "Bouquet Bride Courtship Honeymoon Kiss Lover Sweetheart Valentine Waltz Wedding",
    "Horror": "Coffin Crypt Curse Demon Ghoul Nightmare Phantom Vampire Werewolf Zombie",
    "Sea": "Admiral Anchor Captain Harbour Lighthouse Mariner Pirate Sailor Submarine Tide",
    "Sport": "Boxer Champion Coach Goalkeeper Marathon Olympian Pitcher Referee Sprinter Stadium",
    "Fantasy": "Castle Dragon Elf Enchantress Goblin Kingdom Sorcerer Spell Unicorn Wizard",
}
ADJECTIVES = (
    "Blue Broken Distant Early First Forgotten Gentle Golden Hidden Last "
    "Little Lonely Lost Northern Old Quiet Red Second Silent Strange"
)
START, LENGTH = 946_684_800, 2 * 365 * 86_400


class Synthetic:
    """Films with titles, viewers with tastes, sequels and ratings, all drawn from a known truth.

    What is planted, and which signal carries it:

    - *text*: each item has one genre, and a title with a noun of that genre (the adjective means
      nothing); the genre is a field of its own too, and a sequel is called "TITLE II";
    - *collaborative*: each user prefers some genres (a Dirichlet draw, small `taste` = narrow),
      and items have a popularity (a power law), unrelated to the order of ids;
    - *sequence*: right after an item that has a sequel, the user takes that sequel with
      probability `follow`;
    - *ratings*: mean + user bias + item bias + the user's affinity to the genre + normal noise
      of standard deviation `rating_noise`; not rounded, so that no recommender's expected RMSE is
      below `rating_noise`;
    - with `texts`, *reviews* and *descriptions*: each user writes of one aspect and praises or
      blames it by the rating; a description names title, genre and the item's own aspect.

    `truth` gives all of it, with the exact probability of each next item and the best metrics
    that any recommender can expect. Users never take an item twice. Memory and time grow with
    ``n_users * n_items``.
    """

    def __init__(
        self,
        *,
        n_users: int = 300,
        n_items: int = 200,
        n_interactions_per_user: int = 30,
        n_genres: int = 6,
        taste: float = 0.3,
        popularity_exponent: float = 0.7,
        sequel_share: float = 0.3,
        follow: float = 0.7,
        rating_noise: float = 0.5,
        texts: bool = False,
        seed: int = 0,
    ) -> None:
        self.n_users = n_users
        self.n_items = n_items
        self.n_interactions_per_user = n_interactions_per_user
        self.n_genres = n_genres
        self.taste = taste
        self.popularity_exponent = popularity_exponent
        self.sequel_share = sequel_share
        self.follow = follow
        self.rating_noise = rating_noise
        self.texts = texts
        self.seed = seed
        problems = check_options(type(self), vars(self)) or [
            Problem(key, what) for key, what in self.check_options(vars(self))
        ]
        if problems:
            raise ConfigError(problems)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        problems = [
            (key, f"at least 1, got {params[key]}")
            for key in ("n_users", "n_items", "n_interactions_per_user")
            if params.get(key, 1) < 1
        ]
        n_items = params.get("n_items", 200)
        if params.get("n_interactions_per_user", 30) > n_items:
            problems.append(
                ("n_interactions_per_user", f"at most n_items ({n_items}): nothing is taken twice")
            )
        if not 1 <= params.get("n_genres", 6) <= len(GENRE_WORDS):
            problems.append(("n_genres", f"from 1 to {len(GENRE_WORDS)}"))
        if params.get("taste", 1) <= 0:
            problems.append(("taste", "above 0"))
        if not 0 <= params.get("sequel_share", 0) <= 0.5:
            problems.append(("sequel_share", "from 0 to 0.5 (each sequel needs an item before it)"))
        if not 0 <= params.get("follow", 0) <= 1:
            problems.append(("follow", "a probability, from 0 to 1"))
        problems += [
            (key, "0 or more")
            for key in ("popularity_exponent", "rating_noise", "seed")
            if params.get(key, 0) < 0
        ]
        return problems

    def truth(self) -> Truth:
        """Return what is planted."""
        # Each part has a generator of its own: another noise does not change the tastes.
        rng = [np.random.default_rng([self.seed, part]) for part in range(5)]
        genre = rng[0].permutation(np.arange(self.n_items) % self.n_genres)
        popularity = (1.0 + rng[1].permutation(self.n_items)) ** -self.popularity_exponent
        sequel = _sequels(genre, round(self.sequel_share * self.n_items), rng[2])
        preference = rng[3].dirichlet(np.full(self.n_genres, self.taste), self.n_users)
        preference = (preference + 1e-3) / (1 + 1e-3 * self.n_genres)
        spread = preference.std(axis=1, keepdims=True)
        affinity = (preference - preference.mean(axis=1, keepdims=True)) / np.maximum(spread, 1e-9)
        expected = (
            3.5
            + rng[4].normal(0, 0.4, (self.n_users, 1))
            + rng[4].normal(0, 0.4, self.n_items)
            + 0.5 * affinity[:, genre]
        )
        return Truth(
            genre, preference, popularity, sequel, self.follow, expected, self.rating_noise
        )

    def load(self) -> Dataset:
        """Return the data set, the same for the same options (and numpy's generators)."""
        truth = self.truth()
        rng = np.random.default_rng([self.seed, 5])
        taken = np.full((self.n_users, self.n_interactions_per_user), -1)
        seen = np.zeros((self.n_users, self.n_items), bool)
        users, last = np.arange(self.n_users), np.full(self.n_users, -1)
        for step in range(self.n_interactions_per_user):
            reach = np.cumsum(truth._next(users, seen, last), axis=1)
            drawn = rng.random((self.n_users, 1)) * reach[:, -1:]
            last = np.argmax(reach > drawn, axis=1)
            seen[users, last] = True
            taken[:, step] = last
        begin = rng.integers(0, LENGTH, (self.n_users, 1))
        gaps = 1 + rng.exponential(86_400, taken.shape).astype(np.int64)
        noise = rng.normal(0, 1, taken.shape) * self.rating_noise
        interactions = Interactions(
            np.repeat(users, self.n_interactions_per_user).astype(np.int32),
            taken.ravel().astype(np.int32),
            (truth.expected_rating[users[:, None], taken] + noise).ravel().astype(np.float32),
            (START + begin + np.cumsum(gaps, axis=1)).ravel(),
        )
        names = np.array(list(GENRE_WORDS), dtype=object)
        fields = {"title": self._titles(truth), "genres": names[truth.genre]}
        if self.texts:
            interactions, description = with_texts(interactions, fields, self.seed)
            fields["description"] = description
        return Dataset(
            "synthetic",
            interactions.sorted(),
            np.array([f"u{user + 1}" for user in range(self.n_users)]),
            np.array([f"i{item + 1}" for item in range(self.n_items)]),
            fields,
            source={
                "origin": "generated by llmrec.data.synthetic",
                "options": dict(vars(self)),
                "licence": "none needed: nobody's data",
            },
        )

    def _titles(self, truth: Truth) -> np.ndarray:
        rng = np.random.default_rng([self.seed, 6])
        titles = np.empty(self.n_items, dtype=object)
        adjectives = ADJECTIVES.split()
        for genre, words in enumerate(list(GENRE_WORDS.values())[: self.n_genres]):
            nouns = words.split()
            items = np.flatnonzero(truth.genre == genre)
            names = rng.permutation(len(nouns) * len(adjectives))
            for place, item in enumerate(items):
                adjective, noun = divmod(int(names[place % len(names)]), len(nouns))
                again = place // len(names)
                number = f" of {1900 + again}" if again else ""
                titles[item] = f"The {adjectives[adjective]} {nouns[noun]}{number}"
        for first, second in enumerate(truth.sequel):
            if second >= 0:
                titles[second] = f"{titles[first]} II"
        return titles


@dataclass(frozen=True, eq=False)
class Truth:
    """What `Synthetic` plants: U users, I items, G genres.

    Attributes:
        genre: (I,) genre of each item.
        preference: (U, G) share of each genre in a user's taste.
        popularity: (I,) relative weight of each item within its genre.
        sequel: (I,) the item that continues this one, −1 for none.
        follow: probability that a user takes the sequel right after an item that has one.
        expected_rating: (U, I) ratings without noise.
        rating_noise: standard deviation of the noise: the best RMSE that can be expected.
    """

    genre: np.ndarray
    preference: np.ndarray
    popularity: np.ndarray
    sequel: np.ndarray
    follow: float
    expected_rating: np.ndarray
    rating_noise: float

    def next_probabilities(self, queries: Queries) -> np.ndarray:
        """Return (B, I) probabilities of the next item of each query: the oracle's scores.

        An unknown user has the mean preference; items of the history have probability 0.
        """
        histories = queries.histories
        seen = np.zeros((len(queries), len(self.genre)), bool)
        seen[histories.row_of, histories.values] = True
        last = np.full(len(queries), -1)
        some = histories.lengths > 0
        last[some] = histories.values[histories.offsets[1:][some] - 1]
        return self._next(queries.users, seen, last)

    def best_ranking(self, queries: Queries, k: int) -> dict[str, float]:
        """Return the hit rate, NDCG and MRR at k that the best possible ranking can expect.

        They hold for one held-out item that directly follows each history, and users of the data.
        """
        best = -np.sort(-self.next_probabilities(queries), axis=1)[:, :k]
        rank = np.arange(1, best.shape[1] + 1)
        values = {"hr": np.ones(len(rank)), "ndcg": 1 / np.log2(rank + 1), "mrr": 1 / rank}
        return {f"{name}@{k}": float((best @ gain).mean()) for name, gain in values.items()}

    def _next(self, users: np.ndarray, seen: np.ndarray, last: np.ndarray) -> np.ndarray:
        known = self.preference[np.maximum(users, 0)]
        taste = np.where(np.asarray(users)[:, None] >= 0, known, self.preference.mean(axis=0))
        weights = np.where(seen, 0.0, taste[:, self.genre] * self.popularity)
        total = weights.sum(axis=1, keepdims=True)
        weights /= np.where(total > 0, total, 1)
        rows = np.flatnonzero(last >= 0)
        following = self.sequel[last[rows]]
        rows, following = rows[following >= 0], following[following >= 0]
        unseen = ~seen[rows, following]
        rows, following = rows[unseen], following[unseen]
        weights[rows] *= 1 - self.follow
        weights[rows, following] += self.follow
        return weights


def _sequels(genre: np.ndarray, n_sequels: int, rng: np.random.Generator) -> np.ndarray:
    """Return (I,) the sequel of each item, −1 for none: pairs of one genre, none in two pairs."""
    shuffled = rng.permutation(len(genre))
    by_genre = shuffled[np.argsort(genre[shuffled], kind="stable")]
    place = np.arange(len(genre)) - np.searchsorted(genre[by_genre], genre[by_genre])
    firsts = np.flatnonzero((place[:-1] % 2 == 0) & (genre[by_genre[:-1]] == genre[by_genre[1:]]))
    firsts = rng.permutation(firsts)[:n_sequels]
    sequel = np.full(len(genre), -1)
    sequel[by_genre[firsts]] = by_genre[firsts + 1]
    return sequel
