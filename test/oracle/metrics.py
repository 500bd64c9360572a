"""What scikit-learn and scipy make of random labels and scores: writes test/fixtures/metrics.json.

Needs scikit-learn (made with 1.9.1), scipy (1.17.1) and numpy.
"""

import json
from pathlib import Path

import numpy as np
from scipy import stats
from sklearn import metrics
from sklearn.calibration import calibration_curve

random = np.random.default_rng(11)


def averages(truth, predicted, labels):
    scores = {}
    for average in ("micro", "macro", "weighted"):
        p, r, f, _ = metrics.precision_recall_fscore_support(truth, predicted, labels=labels, average=average, zero_division=0)
        scores[average] = {"precision": p, "recall": r, "f1": f}
    return scores


def classification(classes, count, never_true=(), never_predicted=(), labels=None):
    names = [f"c{i}" for i in range(classes)]
    truth = [str(t) for t in random.choice([n for n in names if n not in never_true], count)]
    possible = [n for n in names if n not in never_predicted]
    # Right for about half of the items, else anything.
    predicted = [t if t in possible and random.random() < 0.5 else str(random.choice(possible)) for t in truth]
    p, r, f, s = metrics.precision_recall_fscore_support(truth, predicted, labels=labels, average=None, zero_division=0)
    return {
        "truth": truth,
        "predicted": predicted,
        "labels": labels,
        "scored": labels or sorted(set(truth) | set(predicted)),
        "accuracy": metrics.accuracy_score(truth, predicted),
        **averages(truth, predicted, labels),
        "classes": [{"precision": a, "recall": b, "f1": c, "support": int(d)} for a, b, c, d in zip(p, r, f, s)],
        "confusion": metrics.confusion_matrix(truth, predicted, labels=labels).tolist(),
    }


def calibrated(count, bins):
    p = random.random(count)
    p[:4] = [0, 1, 1 / bins, 2 / bins]  # edges
    y = random.random(count) < p**1.5
    right, confidence = calibration_curve(y, p, n_bins=bins, strategy="uniform")
    return {
        "probabilities": p.tolist(),
        "outcomes": [bool(v) for v in y],
        "bins": bins,
        "accuracy": right.tolist(),
        "confidence": confidence.tolist(),
        "brier": metrics.brier_score_loss(y, p),
    }


def paired(count):
    a = random.integers(0, 4, count) / 4
    b = random.integers(0, 4, count) / 4
    found = stats.permutation_test((b, a), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf)
    return {"first": a.tolist(), "second": b.tolist(), "pValue": found.pvalue}


fixture = {
    "classification": [
        classification(3, 97),
        classification(7, 211),
        classification(4, 40, never_true=["c2"]),
        classification(4, 40, never_predicted=["c0"]),
        classification(5, 60, never_true=["c1"], never_predicted=["c3"]),
        classification(5, 60, labels=["c4", "c1", "c0"]),
        classification(4, 50, labels=["c0", "c3", "nowhere"]),
        classification(2, 1),
    ],
    "calibration": [calibrated(150, 10), calibrated(60, 4)],
    "mcnemar": [
        [b, c, stats.binomtest(b, b + c, 0.5).pvalue] for b, c in [(0, 1), (3, 3), (1, 9), (12, 30), (700, 800), (1, 0), (5, 60)]
    ],
    "permutation": [paired(9), paired(13)],
    "rounding": [[v, d, round(v, d)] for v in [*(random.normal(size=40) * 10.0 ** random.integers(-4, 6, 40)).tolist(),
                 1 / 64, 3 / 64, -1 / 64, -3 / 64, 0.5, 1.5, 2.5, 2.675, 1e17, 123456.5] for d in (0, 2, 5)],
}
path = Path(__file__).parent.parent / "fixtures" / "metrics.json"
path.write_text(json.dumps(fixture) + "\n")
