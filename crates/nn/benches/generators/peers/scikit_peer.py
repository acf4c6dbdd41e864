"""Forests and boosted trees of scikit-learn that judge rows: scikit_peer.py THREADS FOLDER.

The rows of a file lie one after another, the label is their last number. Each request is answered
with an area under a curve.
"""
import sys

import numpy as np
from files import Files, serve
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

threads, files = int(sys.argv[1]), Files(sys.argv[2])
COLUMNS = 24
# Of each kind, as many as are told apart.
TOLD = 8000


def rows(name):
    return files.array(name, -1).reshape(-1, COLUMNS)


def forest(name):
    """Trained on these rows, tested on real ones."""
    made, tested = rows(name), rows("tested")
    trees = RandomForestClassifier(300, min_samples_leaf=5, n_jobs=threads, random_state=0)
    trees.fit(made[:, :-1], made[:, -1])
    return roc_auc_score(tested[:, -1], trees.predict_proba(tested[:, :-1])[:, 1])


def told(name):
    """Whether boosted trees, crosswise, tell these rows from those learned from."""
    draw = np.random.default_rng(0)
    some = [draw.permutation(rows(of))[:TOLD] for of in ("learned", name)]
    kinds = np.repeat([0, 1], [len(of) for of in some])
    trees = HistGradientBoostingClassifier(random_state=0)
    marks = cross_val_predict(trees, np.concatenate(some), kinds, cv=3, method="predict_proba")
    return roc_auc_score(kinds, marks[:, 1])


serve(lambda judge, name: [{"forest": forest, "told": told}[judge](name)])
