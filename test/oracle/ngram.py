"""What nltk.lm makes of a small text: writes test/fixtures/ngram.json. Needs nltk (made with 3.10.4).

The text ends with the tokens it began with: nltk counts an n-gram at the very start of a text, which has no predecessor, among
the followers of its context but not among their counts, so that its probabilities would not sum to one.
"""

import json
import random
from pathlib import Path

from nltk.lm import MLE, KneserNeyInterpolated, Lidstone
from nltk.util import everygrams

vocab_size, order, discount, k = 9, 4, 0.4, 0.25
random.seed(5)
# A second-order chain with favourites, so that counts of all sizes and gaps occur.
ids = [0, 1]
for _ in range(600):
    favourite = (3 * ids[-1] + 5 * ids[-2] + 1) % vocab_size
    ids.append(favourite if random.random() < 0.6 else min(random.randrange(vocab_size), random.randrange(vocab_size)))
ids += ids[:order]

contexts = [ids[i : i + random.randrange(order)] for i in range(0, 400, 9)]
contexts += [[random.randrange(vocab_size) for _ in range(order - 1)] for _ in range(25)]


def fitted(model):
    # str: nltk takes the words of its vocabulary for words.
    model.fit([everygrams([str(i) for i in ids], max_len=order)], vocabulary_text=[str(i) for i in range(vocab_size)])
    return model


def table(model):
    return [[model.score(str(w), [str(c) for c in context]) for w in range(vocab_size)] for context in contexts]


fixture = {
    "vocabSize": vocab_size,
    "order": order,
    "discount": discount,
    "k": k,
    "ids": ids,
    "contexts": contexts,
    "kneserNey": table(fitted(KneserNeyInterpolated(order, discount=discount))),
    # Its vocabulary has one word more, <UNK>.
    "addK": table(fitted(Lidstone(k, order))),
    "maximumLikelihood": table(fitted(MLE(order))),
}
path = Path(__file__).parent.parent / "fixtures" / "ngram.json"
path.write_text(json.dumps(fixture) + "\n")
