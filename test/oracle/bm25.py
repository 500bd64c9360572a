"""What bm25s (Lù 2024) finds in texts of random words: writes test/fixtures/bm25.json.

Needs bm25s (made with 0.3.16) and numpy. Its method "lucene" leaves out the factor k1 + 1, which changes no order.
"""

import json
from pathlib import Path

import bm25s
import numpy as np

random = np.random.default_rng(23)
words = ["revenue", "ashford", "steel", "2021", "1,240", "chief", "of", "the", "valdora", "grew", "4.3", "was", "zeph", "in"]
shares = 1 / np.arange(1, len(words) + 1)
shares /= shares.sum()
texts = [" ".join(random.choice(words, 3 + int(random.integers(12)), p=shares)) for _ in range(17)]
queries = [" ".join(random.choice(words, 1 + int(random.integers(4)), replace=False)) for _ in range(6)]

cases = []
for k1, b in [(1.2, 0.75), (0.9, 0.4), (2.0, 0.0), (1.5, 1.0)]:
    index = bm25s.BM25(method="lucene", k1=k1, b=b, dtype="float64")
    index.index([text.split() for text in texts], show_progress=False)
    scores = [[float(s) * (k1 + 1) for s in index.get_scores(query.split())] for query in queries]
    cases.append({"k1": k1, "b": b, "scores": scores})

target = Path(__file__).resolve().parent.parent / "fixtures" / "bm25.json"
target.write_text(json.dumps({"texts": texts, "queries": queries, "cases": cases}) + "\n")
