"""Byte-level BPE as GPT-2, Llama 3, Qwen2 and SmolLM2 have it, small: writes test/fixtures/interop/tokenizers.json.

    python test/oracle/interop_tokenizers.py
    python test/oracle/interop_tokenizers.py --strings 100000 --vocabulary 4000 --output FULL.json
    LAB_INTEROP_TOKENIZERS=FULL.json npx vitest run test/lab/interop-tokenizer.test.ts
    python test/oracle/interop_tokenizers.py --check DIR …   what the lab saved in DIR gives the ids in DIR/expected-tokens.json

For each: what stands in its tokenizer.json, and the ids of nasty strings, with added tokens of every kind in them. The real
pre-tokenizers, normalizers and templates; the vocabularies are trained here. Versions: README.md.
"""
import argparse
import json
import os
import random
import re
import unicodedata
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
parser = argparse.ArgumentParser()
parser.add_argument("--vocabulary", type=int, default=600)
parser.add_argument("--strings", type=int, default=250)
parser.add_argument("--output", default=str(ROOT / "test" / "fixtures" / "interop" / "tokenizers.json"))
parser.add_argument("--check", nargs="+")
options = parser.parse_args()

WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def split(numbers):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(WORDS + numbers + REST), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])


def plain(prefix=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix)


SMOLLM2 = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), plain()])
# name: pre-tokenizer, normalizer, ignore_merges, special tokens, template
KINDS = {
    "gpt2": (plain(), None, False, ["<|endoftext|>"], None),
    "llama3": (split(r"\p{N}{1,3}"), None, True, ["<|begin_of_text|>", "<|eot_id|>"], "<|begin_of_text|> $A"),
    "qwen2": (split(r"\p{N}"), normalizers.NFC(), False, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], None),
    "smollm2": (SMOLLM2, None, False, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], None),
    # No model's, but every kind of added token, a text that begins with a space, and an end behind it.
    "awkward": (plain(True), normalizers.Sequence([normalizers.NFC()]), True, ["<s>", "</s>"], "<s> $A </s>"),
}
AWKWARD = [
    AddedToken("<mask>", lstrip=True, special=True), AddedToken("<end>", rstrip=True, special=True),
    AddedToken("foo", single_word=True), AddedToken("fo"), AddedToken("<s>x"), AddedToken("A\u030a", normalized=True),
    AddedToken("a b", normalized=False), AddedToken("(.*)"), AddedToken("😀", single_word=True, normalized=False),
]
NAMES = ["<|endoftext|>", "<|begin_of_text|>", "<|eot_id|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>"]
ALPHABETS = [
    "the and lion's don't I'LL we'Ve THEY'RE she'd it'S 'tis x'ſ 'ſt Lion naïve Straße über façade ﬁne ǆ".split(),
    [" ", "  ", "   ", "\n", "\n\n", "\t", " \n", "\r\n", "\r", " \n \n", "\n  ", "\u00a0", "\u2003", "\u3000", "\u2028", "\x85"],
    [chr(c) for c in [0, 1, 8, 11, 12, 27, 28, 31, 127, 128, 0x9F, 0xAD, 0x200B, 0x200D, 0xFEFF, 0xFFFD, 0xFFFF, 0xE000]],
    list("0123456789") + ["٣", "৪", "Ⅷ", "²", "½", "𝟘", "2024", "3.14", "1,000,000", "12345678901"],
    ["e\u0301", "a\u0308\u0323", "\u0301", "n\u0303o", "ก\u0e34", "क्षि", "\u20dd", "Z\u0351\u036b", "A\u030a", "\u212b", "가", "\u1100\u1161", "\u0958"],
    ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "❤️", "👨🏿‍🚀", "\ufe0f", "#️⃣", "🫠"],
    list("漢字仮名かなカナ한국어中文。、「」") + ["𠀀", "𪚥"],
    ["Привет", "γειά", "שָׁלוֹם", "مرحبا", "नमस्ते", "สวัสดี", "ქართული", "𝔸𝕓𝕔", "ᚠᚢᚦ", "ꙮ", "ᏣᎳᎩ"],
    list("!?…'’\"#$%&()*+/:;<=>@[\\]^_`{|}~€£¥§±×÷∑√∞≠") + ["'s", "'LL", "''re", "--", "...", "!\n", "?\r\n\n", " .\n"],
    ["<mask>", " <mask>", " \n<mask>", "<end>", "<end> ", "<end>\n ", "foo", " foo ", "food", "_foo", "é foo", "fo", "<s>x", "a b", "A\u030a",
     "(.*)", "\u00c5", "😀", "o", "<", "|>", "<|", "<|im_", "s>", *NAMES],
]


def nasty(rng):
    """A string of one kind, a mixture of several, a very long run, or characters from all of Unicode."""
    style = rng.random()
    if style < 0.03:
        return rng.choice([" ", "a", "0", "!", "\n", "é", "😀", "字", "ab", " a", "<s>", " \n"]) * rng.randint(20, 200)
    if style < 0.08:
        return "".join(c for c in (chr(rng.randrange(0x110000)) for _ in range(rng.randint(1, 8))) if known(c))
    kinds = [rng.choice(ALPHABETS) for _ in range(rng.randint(1, 4))]
    return "".join(rng.choice(rng.choice(kinds)) for _ in range(rng.randint(0, 16)))


def known(character):
    """No surrogates, and none that one Unicode version assigns and another does not."""
    return unicodedata.category(character) not in ("Cs", "Cn")


def trained(name, text):
    pre_tokenizer, normalizer, ignore_merges, specials, template = KINDS[name]
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    # GPT-2's special token is in its vocabulary; the others' are behind it.
    inside = specials if name == "gpt2" else []
    trainer = trainers.BpeTrainer(vocab_size=options.vocabulary, initial_alphabet=alphabet, special_tokens=inside, show_progress=False)
    tokenizer.train_from_iterator([text], trainer)
    if ignore_merges:
        # A word that no merge makes: only ignoring them finds it.
        content = json.loads(tokenizer.to_str())
        content["model"]["vocab"].update({"Ġquite": len(content["model"]["vocab"]), "zzz": len(content["model"]["vocab"]) + 1})
        tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.add_special_tokens(specials)
    if name == "awkward":
        tokenizer.add_tokens(AWKWARD)
    if template:
        ids = [(token, tokenizer.token_to_id(token)) for token in specials]
        tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=ids)
    return tokenizer


def decoded(tokenizer, ids, skip):
    return tokenizer.decode(ids, skip_special_tokens=skip)


def write():
    rng = random.Random(11)
    strings = ["", " ", "quite quite zzz"] + [nasty(rng) for _ in range(options.strings)]
    prose = (ROOT / "LICENSE").read_text(encoding="utf-8")[:6000]
    text = prose + "".join(re.sub("|".join(map(re.escape, NAMES)), "", nasty(rng)) for _ in range(300))
    fixture = {"strings": strings, "kinds": {}}
    for name in KINDS:
        tokenizer = trained(name, text)
        ids = [tokenizer.encode(string).ids for string in strings]
        fixture["kinds"][name] = {
            "tokenizer": json.loads(tokenizer.to_str()),
            "ids": [" ".join(map(str, i)) for i in ids],
            "bare": [" ".join(map(str, tokenizer.encode(string, add_special_tokens=False).ids)) for string in strings[:40]],
            "texts": [decoded(tokenizer, i, True) for i in ids[:40]],
        }
    path = Path(options.output)
    path.write_text(json.dumps(fixture, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB, {len(strings)} strings")


def check(folder):
    tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    expected = json.loads((Path(folder) / "expected-tokens.json").read_text(encoding="utf-8"))
    wrong = [text for text, ids in expected if tokenizer.encode(text).ids != ids]
    lost = [text for text, ids in expected if tokenizer.decode(ids, skip_special_tokens=False) != text]
    print(f"{Path(folder).name}: {len(expected)} strings: {len(wrong)} with other ids, {len(lost)} with another text", (wrong + lost)[:3])


if options.check:
    for saved in options.check:
        check(saved)
else:
    write()
