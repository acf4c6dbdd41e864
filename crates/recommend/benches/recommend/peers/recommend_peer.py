"""Recommenders of implicit, SciPy and NumPy: recommend_peer.py THREADS FOLDER.

Each request is answered with one number, mostly the seconds that it took.
"""
import sys
import time

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
from files import Files, serve
from implicit.als import AlternatingLeastSquares
from implicit.cpu._als import calculate_loss
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender

threads, files = int(sys.argv[1]), Files(sys.argv[2])
matrix = model = scores = None


def seconds(work):
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def interactions(name, users, items):
    global matrix
    parts = files.array(f"{name}.weights", -1), files.indexes(f"{name}.columns"), files.indexes(f"{name}.offsets")
    matrix = scipy.sparse.csr_matrix(parts, shape=(int(users), int(items)))
    return 0


def als(factors, regularization, alpha, iterations, solver):
    """The confidence of an interaction is 1 + alpha, as in the paper; implicit's is the value."""
    global model, scores
    confidence = matrix.copy()
    confidence.data = (1 + float(alpha) * confidence.data).astype("f4")
    model, scores = AlternatingLeastSquares(
        factors=int(factors), regularization=float(regularization), alpha=1.0,
        iterations=int(iterations), use_cg=solver == "conjugate_gradient", use_gpu=False,
        num_threads=threads, random_state=42,
    ), None
    taken = seconds(lambda: model.fit(confidence, show_progress=False))
    model.confidence = confidence
    return taken


def loss():
    return calculate_loss(
        model.confidence, model.user_factors, model.item_factors, model.regularization,
        num_threads=threads,
    )


def item_knn(similarity, neighbors):
    global model, scores
    # A neighbor more: theirs counts the item itself among them.
    kind = {"cosine": CosineRecommender, "bm25": BM25Recommender}[similarity]
    model, scores = kind(K=int(neighbors) + 1, num_threads=threads), None
    return seconds(lambda: model.fit(matrix, show_progress=False))


def svd(factors):
    global scores

    def work():
        global scores
        users, values, items = scipy.sparse.linalg.svds(matrix, k=int(factors), random_state=42)
        scores = (users * values) @ items

    return seconds(work)


def ease(regularization):
    """Steck's closed form, as he gives it, in single precision by LAPACK."""
    global scores
    gram = (matrix.T @ matrix).toarray().astype("f4")

    def work():
        global weights
        gram[np.diag_indices_from(gram)] += np.float32(regularization)
        factor, _ = scipy.linalg.lapack.spotrf(gram.T, lower=1, overwrite_a=1)
        inverse, _ = scipy.linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        weights = inverse / -np.diag(inverse)
        weights[np.diag_indices_from(weights)] = 0

    taken = seconds(work)
    scores = matrix @ weights
    return taken


def popular():
    global scores
    counts = np.bincount(matrix.indices, minlength=matrix.shape[1]).astype("f4")
    scores = np.broadcast_to(counts, matrix.shape)
    return 0


def answer(k):
    """Writes the best items of each user, those he had left out."""
    if scores is None:
        users = np.arange(matrix.shape[0])
        best, _ = model.recommend(users, matrix, N=int(k), filter_already_liked_items=True)
    else:
        left = np.array(scores, "f8")
        left[matrix.nonzero()] = -np.inf
        best = np.argsort(-left, axis=1, kind="stable")[:, : int(k)]
    best.astype("<u4").tofile(files.folder / "best.u32")
    return 0


def score():
    """Writes all scores."""
    scores.astype("<f4").tofile(files.folder / "scores.f32")
    return 0


def factors(count):
    global model
    model = AlternatingLeastSquares(factors=int(count), use_gpu=False, num_threads=threads)
    model.user_factors = files.array("users", -1, int(count))
    model.item_factors = files.array("items", -1, int(count))
    return 0


def one(user, k):
    """A single user's best items, no items left out: seconds."""
    user = int(user)
    return seconds(lambda: model.recommend(user, None, N=int(k), filter_already_liked_items=False))


def among(user, k):
    """A single user's best of some items, by scoring just them: seconds."""
    user, k, some = model.user_factors[int(user)], int(k), files.indexes("among")

    def work():
        scores = model.item_factors[some] @ user
        best = np.argpartition(-scores, k - 1)[:k]
        return some[best[np.argsort(-scores[best])]]

    return seconds(work)


def batch(k):
    users = np.arange(len(model.user_factors))
    return seconds(lambda: model.recommend(users, None, N=int(k), filter_already_liked_items=False))


serve(lambda request, *arguments: [globals()[request](*arguments)])
