"""What the Rust library `tokenizers` does: writes test/fixtures/tokenizer/tokenizers.json. Needs tokenizers (made with 0.21.0).

    python test/oracle/tokenizer.py
    python test/oracle/tokenizer.py --text FILE --vocabulary 4096 --strings 100000 --output FULL.json
    LAB_TOKENIZER_FIXTURE=FULL.json npx vitest run test/lab/tokenizer-oracle.test.ts

For every pre-tokenizer: byte-level BPE trained on a text, and the ids of nasty strings; unigram's ids for pieces and scores
that the library trained; and what Python makes of bytes that are no UTF-8. Ids below 256 are
written as the byte they stand for.
"""

import argparse
import base64
import json
import os
import random
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
parser = argparse.ArgumentParser()
parser.add_argument("--text", help="train on this file instead of the licence and nasty strings")
parser.add_argument("--vocabulary", type=int, default=700)
parser.add_argument("--strings", type=int, default=250)
parser.add_argument("--output", default=str(ROOT / "test" / "fixtures" / "tokenizer" / "tokenizers.json"))
options = parser.parse_args()

ALPHABETS = {
    "words": "the and lion's don't I'll we've they're she'd it's 'tis THE Lion Queen naïve Straße über façade".split(),
    "joined": [" ", "", "", "-", ",", ". ", "  ", "\n", "\n\n", "\t", " \n", "\r\n", "   "],
    "spaces": list(" \t\n\r\v\f\x1c\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\u200b\ufeff"),
    "control": [chr(c) for c in [0, 1, 7, 8, 27, 127, 128, 0x9F, 0xAD]],
    "digits": list("0123456789") + ["٣", "৪", "Ⅷ", "²", "½", "𝟘", "一二三", "2024", "3.14", "1,000,000"],
    "marks": ["e\u0301", "a\u0308\u0323", "\u0301", "n\u0303o", "ก\u0e34", "क्षि", "\u20dd", "Z\u0351\u036b\u0343"],
    "emoji": ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "❤️", "👨🏿‍🚀", "\u200d", "\ufe0f", "#️⃣", "🫠"],
    "cjk": list("漢字仮名かなカナ한국어中文。、「」") + ["𠀀", "𪚥"],
    "scripts": ["Привет", "γειά", "שָׁלוֹם", "مرحبا", "नमस्ते", "สวัสดี", "ქართული", "𝔸𝕓𝕔", "ᚠᚢᚦ", "ꙮ"],
    "signs": list("!?…'’\"#$%&()*+/:;<=>@[\\]^_`{|}~€£¥§±×÷∑√∞≠") + ["'s", "'ll", "'S", "''re", "<|endoftext|>", "--", "..."],
    "private": ["\ue000", "\uf8ff", "\U000f0000", "\ufffd", "\uffff", "\U0010ffff", "\ufdd0"],
}
KINDS = list(ALPHABETS)
PIECES_OF_UTF8 = [0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x98, 0x80, 0xED, 0xA0, 0xEF, 0xBB, 0xBF, 65]


def nasty(rng):
    """A string of one kind, a mixture of several, a very long run, or characters from all of Unicode."""
    style = rng.random()
    if style < 0.03:
        return rng.choice([" ", "a", "0", "!", "\n", "é", "😀", "字", "ab", " a"]) * rng.randint(20, 200)
    if style < 0.08:
        chars = (rng.randrange(0x110000) for _ in range(rng.randint(1, 8)))
        return "".join(chr(c) for c in chars if not 0xD800 <= c < 0xE000)
    if style < 0.35:
        return "".join(rng.choice(ALPHABETS["words"]) + rng.choice(ALPHABETS["joined"]) for _ in range(rng.randint(1, 14)))
    kinds = [rng.choice(KINDS) for _ in range(rng.randint(1, 4))]
    return "".join(rng.choice(ALPHABETS[rng.choice(kinds)]) for _ in range(rng.randint(0, 16)))


def pre_tokenizer(name):
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=name in ("gpt2", "digits"))
    before = {
        "digits": pre_tokenizers.Digits(individual_digits=True),
        "bloomberg": pre_tokenizers.Split(Regex("[ A-Za-z]+|[0-9]|[^ A-Za-z0-9]+"), "isolated"),
    }.get(name)
    return pre_tokenizers.Sequence([before, level]) if before else level


ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet(), key=ord)
PRINTING = [b for b in range(256) if 32 < b < 127 or 160 < b != 173]
BYTES = PRINTING + [b for b in range(256) if b not in PRINTING]  # in the order of GPT-2's ids
BYTE_OF = dict(zip(ALPHABET, BYTES))


def as_byte(token_id):
    return BYTES[token_id] if token_id < 256 else token_id


def bpe(name, text, strings):
    # One word as long as the text would take the library hours.
    text = text[:20_000] if name == "none" else text
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer(name)
    trainer = trainers.BpeTrainer(
        vocab_size=options.vocabulary, min_frequency=2, initial_alphabet=ALPHABET, show_progress=False
    )
    tokenizer.train_from_iterator([text], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocabulary = model["vocab"]
    pairs = (m if isinstance(m, list) else m.split(" ") for m in model["merges"])
    merges = [[as_byte(vocabulary[part]) for part in pair] for pair in pairs]
    ids = [[as_byte(i) for i in tokenizer.encode(s).ids] for s in strings]
    return {"characters": len(text), "vocabSize": len(vocabulary), "merges": merges, "ids": ids}


def unigram(text, strings):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizer("gpt2")
    trainer = trainers.UnigramTrainer(vocab_size=options.vocabulary, initial_alphabet=ALPHABET, show_progress=False)
    tokenizer.train_from_iterator([text], trainer)
    vocabulary = json.loads(tokenizer.to_str())["model"]["vocab"]
    pieces = [base64.b64encode(bytes(BYTE_OF[c] for c in piece)).decode() for piece, _ in vocabulary]
    return {"pieces": pieces, "scores": [score for _, score in vocabulary], "ids": [tokenizer.encode(s).ids for s in strings]}


rng = random.Random(3)
strings = [nasty(rng) for _ in range(options.strings)]
invalid = [bytes(rng.choice(PIECES_OF_UTF8 + [rng.randrange(256)]) for _ in range(rng.randint(1, 10))) for _ in range(200)]
if options.text:
    text = Path(options.text).read_text(encoding="utf-8")
else:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8") + "".join(nasty(rng) for _ in range(400))
fixture = {
    "text": text,
    "strings": strings,
    "bpe": {name: bpe(name, text, strings) for name in ["gpt2", "digits", "bloomberg", "none"]},
    "unigram": unigram(text, strings),
    "invalid": [[base64.b64encode(b).decode(), b.decode("utf-8", "replace")] for b in invalid],
}
path = Path(options.output)
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text(json.dumps(fixture, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB, {len(strings)} strings")
