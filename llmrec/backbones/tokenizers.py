"""Tokenizers trained offline on training texts: byte-level BPE, WordPiece, Unigram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from llmrec.core.errors import DataError
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
            "a tokenizer needs item texts, but all are empty; give an item file with titles, "
            "or use prompt=items with init=random"
        )
    tokenizers = require("tokenizers", "lm", "training a tokenizer")
    transformers = require("transformers", "lm", "training a tokenizer")
    special = [PAD, UNK, BOS, EOS, CLS, SEP, MASK]
    models, trainers, pre = tokenizers.models, tokenizers.trainers, tokenizers.pre_tokenizers
    if kind == "bpe":
        tokenizer = tokenizers.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = tokenizers.decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary_size,
            special_tokens=special,
            initial_alphabet=pre.ByteLevel.alphabet(),
            show_progress=False,
        )
    elif kind == "wordpiece":
        tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token=UNK))
        tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre.BertPreTokenizer()
        tokenizer.decoder = tokenizers.decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(
            vocab_size=vocabulary_size, special_tokens=special, show_progress=False
        )
    else:
        tokenizer = tokenizers.Tokenizer(models.Unigram())
        tokenizer.normalizer = tokenizers.normalizers.NFKC()
        tokenizer.pre_tokenizer = pre.Metaspace()
        tokenizer.decoder = tokenizers.decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=vocabulary_size, special_tokens=special, unk_token=UNK, show_progress=False
        )
    tokenizer.train_from_iterator(texts, trainer)
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
