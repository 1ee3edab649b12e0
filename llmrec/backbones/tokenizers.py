"""Tokenizers trained offline on training texts: byte-level BPE, WordPiece, Unigram.

The same texts give the same vocabulary. Of the trainers of the tokenizers library only that of BPE
repeats itself: those of WordPiece and Unigram follow the order of a hash table, which differs from
one training to the next. So all pieces are found by BPE merges, here on words written in a private
alphabet that tells the beginning of a word from the rest.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from llmrec.core.errors import ComponentError, DataError
from llmrec.core.extras import require

TokenizerKind = Literal["bpe", "wordpiece", "unigram"]

PAD, UNK, BOS, EOS, CLS, SEP, MASK = (
    "<pad>",
    "<unk>",
    "<bos>",
    "<eos>",
    "[CLS]",
    "[SEP]",
    "[MASK]",
)


SPECIAL = [PAD, UNK, BOS, EOS, CLS, SEP, MASK]
# What a folder with a tokenizer holds at least one of; without any, transformers makes up one
# that knows no word.
FILES = ("tokenizer*", "vocab.*", "spiece.model", "*.bpe.model", "*.tiktoken", "tekken.json")
PRIVATE_USE = 0xF0000
ROUNDS = 3


def train_tokenizer(kind: TokenizerKind, texts: Sequence[str], vocabulary_size: int) -> Any:
    """Train a tokenizer and return it as a ``PreTrainedTokenizerFast``.

    The byte-level BPE knows every string; WordPiece lower-cases, as BERT's does; each has pad,
    unknown, begin, end, classification, separator and mask tokens.

    Args:
        kind: ``bpe`` (GPT-2), ``wordpiece`` (BERT) or ``unigram`` (T5).
        texts: training texts only.
        vocabulary_size: at most this many tokens, special ones included.

    Raises:
        DataError: if there is no text to learn from.
    """
    if not any(text.strip() for text in texts):
        raise DataError(
            "a tokenizer needs item texts, but all are empty; give a file with the items' titles "
            "(data.items=FILE), or choose a prompt that reads none: model/prompt=items_no_text"
        )
    tokenizers = require("tokenizers", "lm", "training a tokenizer")
    transformers = require("transformers", "lm", "training a tokenizer")
    models, pre = tokenizers.models, tokenizers.pre_tokenizers
    if kind == "bpe":
        tokenizer = tokenizers.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=vocabulary_size,
            special_tokens=SPECIAL,
            initial_alphabet=pre.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
    elif kind == "wordpiece":
        tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token=UNK))
        tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre.BertPreTokenizer()
        tokenizer.decoder = tokenizers.decoders.WordPiece()
        pieces = merged_pieces(words_of(tokenizer, texts), vocabulary_size - len(SPECIAL), "##")
        vocabulary = {piece: number for number, piece in enumerate([*SPECIAL, *pieces])}
        tokenizer.model = models.WordPiece(vocabulary, unk_token=UNK)
    else:
        tokenizer = tokenizers.Tokenizer(models.Unigram())
        tokenizer.normalizer = tokenizers.normalizers.NFKC()
        tokenizer.pre_tokenizer = pre.Metaspace()
        tokenizer.decoder = tokenizers.decoders.Metaspace()
        words = words_of(tokenizer, texts)
        tokenizer.model = unigram(words, merged_pieces(words, vocabulary_size - len(SPECIAL)))
    tokenizer.add_special_tokens(SPECIAL)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNK,
        bos_token=BOS,
        eos_token=EOS,
        cls_token=CLS,
        sep_token=SEP,
        mask_token=MASK,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def tokenizer_folder(checkpoint: Path) -> Path | None:
    """Return the folder of a local checkpoint's tokenizer; None if it has none.

    A language model that llmrec saved keeps its tokenizer beside the weights, which are in
    ``backbone``.
    """
    places = [checkpoint]
    if checkpoint.resolve().name == "backbone":
        places.append(checkpoint.resolve().parent / "tokenizer")
    for place in places:
        if any(path.is_file() for pattern in FILES for path in place.glob(pattern)):
            return place
    return None


def require_tokenizer(checkpoint: str) -> str:
    """Return where to read a checkpoint's tokenizer from: a hub name, or its own folder.

    Raises:
        ComponentError: if a local folder has none.
    """
    folder = Path(checkpoint)
    if not folder.is_dir():
        return checkpoint
    found = tokenizer_folder(folder)
    if found is None:
        raise ComponentError(
            f"the checkpoint {checkpoint} has no tokenizer, so that no text could be read with "
            "it; put the tokenizer's files there (tokenizer.json, tokenizer_config.json), or "
            "choose a prompt that reads no words, e.g. model/prompt=items"
        )
    return str(found)


def require_words(tokenizer: Any, checkpoint: str) -> None:
    """Check that a checkpoint's tokenizer has more than special tokens and a word boundary.

    Raises:
        ComponentError: if it has not, so that every text is nothing or unknown to it.
    """
    ordinary = set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids)
    if len(ordinary) <= 1:
        raise ComponentError(
            f"the tokenizer of {checkpoint} knows no words, only special tokens: no text could be "
            "read with it; put the files of the right tokenizer there"
        )


def unknown_token(tokenizer: Any) -> int | None:
    """Return the id of what a tokenizer writes for text that it does not know.

    None if it knows every text: GPT-2's names the end of a text as its unknown token.
    """
    found: int | None = tokenizer.unk_token_id
    return None if found in (tokenizer.bos_token_id, tokenizer.eos_token_id) else found


def words_of(tokenizer: Any, texts: Sequence[str]) -> Counter[str]:
    """Return how often each word occurs after the tokenizer's own cleaning and splitting."""
    words: Counter[str] = Counter()
    for text in texts:
        clean = tokenizer.normalizer.normalize_str(text)
        words.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(clean))
    return words


def merged_pieces(words: Counter[str], size: int, mark: str = "") -> list[str]:
    """Return the pieces that BPE merges make of words: single characters first, then by merge.

    Args:
        words: how often each occurs.
        size: how many pieces; all characters are kept even if they are more.
        mark: put before a piece that does not begin a word (and makes it another piece).
    """
    tokenizers = require("tokenizers", "lm", "training a tokenizer")
    characters = sorted({character for word in words for character in word})
    number = {character: 2 * i for i, character in enumerate(characters)}

    def private(word: str) -> str:
        inside = [bool(mark) and place > 0 for place in range(len(word))]
        codes = [number[character] + shift for character, shift in zip(word, inside, strict=True)]
        return "".join(chr(PRIVATE_USE + code) for code in codes)

    def public(piece: str) -> str:
        codes = [ord(character) - PRIVATE_USE for character in piece]
        return mark * (codes[0] % 2) + "".join(characters[code // 2] for code in codes)

    learner = tokenizers.Tokenizer(tokenizers.models.BPE())
    learner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=max(size, 0), show_progress=False)
    repeated = (" ".join([private(word)] * words[word]) for word in sorted(words))
    learner.train_from_iterator(repeated, trainer)
    found = learner.get_vocab()
    return [public(piece) for piece in sorted(found, key=found.__getitem__)]


def unigram(words: Counter[str], pieces: Sequence[str]) -> Any:
    """Return a Unigram model (Kudo, 2018) of given pieces, fitted by a few rounds of hard EM.

    Each round splits every word in the most probable way and counts the pieces; the first round
    takes all as equally probable, which means as few pieces as possible.
    """
    tokenizers = require("tokenizers", "lm", "training a tokenizer")
    counts = dict.fromkeys(pieces, 1.0)
    for _ in range(ROUNDS):
        model = _unigram_of(tokenizers, counts)
        counts = dict.fromkeys(pieces, 0.5)
        for word in sorted(words):
            for token in model.tokenize(word):
                counts[token.value] += words[word]
    return _unigram_of(tokenizers, counts)


def _unigram_of(tokenizers: Any, counts: dict[str, float]) -> Any:
    total = math.log(sum(counts.values()))
    scores = [(piece, math.log(count) - total) for piece, count in counts.items()]
    special = [(token, 0.0) for token in SPECIAL]
    return tokenizers.models.Unigram([*special, *scores], unk_id=SPECIAL.index(UNK))
