"""The steps of fitting a SubspaceClusterer, from distinct samples to its state."""

import logging
from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from sklearn_whitebox._array import check_memory, resolve_device
from sklearn_whitebox._random import draw_seed
from sklearn_whitebox._threads import count_threads, serial_blas, serial_pools
from sklearn_whitebox._warn import warn
from sklearn_whitebox.estimators._subspace_labels import (
    Assigner,
    affine_frame,
    bridge_components,
    join_opposites,
    number_by_weight,
    prepare_rows,
)
from sklearn_whitebox.estimators._subspace_prediction import CodeBook, choose_rule
from sklearn_whitebox.estimators._subspace_warnings import warn_of_cone
from sklearn_whitebox.solvers._cluster_count import choose_cut
from sklearn_whitebox.solvers._copies import distinct_rows
from sklearn_whitebox.solvers._graph_choice import (
    build_graph,
    choose_graph,
    weigh_nodes,
)
from sklearn_whitebox.solvers._graph_cut import cut_graph, noise_level
from sklearn_whitebox.solvers._incremental_coding import class_moments
from sklearn_whitebox.solvers._self_expression import self_expression_bytes
from sklearn_whitebox.solvers._spectral import (
    graph_components,
    spectral_pairs,
)
from sklearn_whitebox.solvers._subspaces import (
    fit_subspaces,
    refine_by_coding_length,
    subspace_residuals,
)

logger = logging.getLogger("sklearn_whitebox")

# Clusters that methods are compared with if linear codes show only one, and samples of
# which linear codes count them.
_GUESS, _GUESS_SIZE = 8, 1000

_SPARSE_CODES = ("elastic_net", "lasso", "omp")
_EXPRESSED = (*_SPARSE_CODES, "ridge", "low_rank", "thresholding")

# Starts of k-means in the comparison of methods.
_FEW_STARTS = 3

# Samples on which refinement is tried before it is applied to more.
_TRIAL_SIZE = 3000

# Rows that a graph of sparse codes chosen by default is built on: they are chosen only
# in few dimensions, where so many rows fix the subspaces.
_ENOUGH = 10_000


class SubspaceFitting:
    """One fit: holds the settings, not the results.

    Parameters
    ----------
    settings : SubspaceClusterer
        Its parameters are read.
    sparse_rows : bool
        Whether products of the samples should be sparse.
    """

    def __init__(self, settings, sparse_rows):
        self.settings = settings
        self.sparse_rows = sparse_rows
        self.unit = 1.0
        self.count_is_given = settings.n_clusters != "auto"
        self.guess = settings.n_clusters if self.count_is_given else _GUESS
        self.seed = draw_seed(settings.random_state)
        self.assign = Assigner(settings.assign_labels, settings.n_init, self.seed)
        auto = settings.subspace_dim == "auto"
        self.subspace_dim = None if auto else settings.subspace_dim

    def check_sizes(self, X, n_anchors):
        """Refuse impossible sizes and work beyond the memory budget."""
        s = self.settings
        n_samples, n_features = X.shape
        if self.count_is_given and n_samples < s.n_clusters:
            raise ValueError(
                f"n_samples={n_samples} should be >= n_clusters={s.n_clusters}; "
                "lower n_clusters."
            )
        least = s.n_clusters if self.count_is_given else 2
        if isinstance(s.n_anchors, Integral) and s.n_anchors < least:
            raise ValueError(
                f"n_anchors={s.n_anchors} should be >= n_clusters={least}; raise "
                "n_anchors."
            )
        if self.subspace_dim is not None and self.subspace_dim >= max(2, n_features):
            raise ValueError(
                f"subspace_dim={s.subspace_dim} must be less than n_features="
                f"{n_features}: a subspace that is all of space fits every sample."
            )
        self._device(X)  # refuses one that is not there
        width, method = 2 * s.n_neighbors, s.method
        if method in ("elastic_net", "lasso"):
            width = 2 * n_features
        elif method == "omp":
            width = s.n_nonzero_coefs * s.n_pursuits
        width = min(width, n_anchors, s.max_nonzero or width)
        n_vectors = 2 * (s.n_clusters if self.count_is_given else s.max_clusters)
        sizes = {method if method in _EXPRESSED else "ridge": n_anchors}
        if method == "auto":
            sizes["elastic_net"] = min(n_anchors, _ENOUGH)
        codes = max(
            self_expression_bytes(
                (size, n_features),
                X.itemsize,
                method=name,
                n_neighbors=s.n_neighbors,
                n_jobs=count_threads(s.n_jobs),
            )
            for name, size in sizes.items()
        )
        # The affinity holds each edge twice and is copied a few times on the way.
        edges = 80.0 * n_anchors * width
        embedding = 32.0 * n_anchors * (n_features + n_vectors + 6)
        check_memory(
            codes + edges + embedding,
            what=f"The graph of {n_anchors} samples",
            remedy="lower n_anchors, max_nonzero or n_nonzero_coefs",
        )

    def run(self, X, weights, progress):
        """Cluster distinct samples in random order; return the fitted attributes."""
        affine, offset, constant = self._frame(X, weights)
        rows = prepare_rows(X, affine, offset, constant, self.settings.normalize)
        if not self.settings.normalize:
            # Codes and subspaces do not depend on the unit; squares may underflow.
            self.unit = float(np.abs(rows).max()) or 1.0
            rows = rows / self.unit
        # Steps of k-means, the only ones with OpenMP inside.
        work = 2.0 * len(rows) * self.guess * (self.guess + 3)
        if self.settings.method in _EXPRESSED and not affine:
            warn_of_cone(rows)
        with serial_blas(), serial_pools(work):
            method, evidence, graph = self._choose(X, rows, weights)
            if self._is_enough(method) and len(X) > _ENOUGH:
                X, rows, weights = X[:_ENOUGH], rows[:_ENOUGH], weights[:_ENOUGH]
            if graph is None:
                graph = self._build(X, rows, method)
            progress(0)
            codes, affinity = graph.result.solution, graph.affinity
            components, isolated = graph_components(affinity)
            n_parts = len(components) + len(isolated)
            self._log("%d edges in %d parts", affinity.nnz // 2, n_parts)
            progress(1)
            space, distortion = _coding_space(X, rows, codes, method)
            labels, path = self._partition(
                X, rows, space, weights, affinity, method, distortion
            )
            labels, n_found = number_by_weight(labels, weights)
            if self.count_is_given and n_found < self.settings.n_clusters:
                self._report_lack(n_found)
            if self.settings.refine and n_found > 1 and space is rows:
                labels = self._refine(rows, labels, n_found, distortion, weights)
            progress(2)
            state = self._predictor(X, rows, labels, n_found, method, distortion)
        return {
            "labels_": labels,
            "method_": method,
            "method_evidence_": evidence,
            "representation_": codes,
            "affinity_matrix_": affinity,
            "n_clusters_": n_found,
            "n_clusters_path_": path,
            "n_connected_components_": n_parts,
            "isolated_": isolated,
            "affine_": affine,
            "offset_": offset,
            "affine_constant_": constant,
            "n_iter_": graph.result.n_iter,
            "_unit": self.unit,
            **state,
        }

    def _is_enough(self, method):
        """Whether a sample of the rows will do, unless the user wants otherwise."""
        s = self.settings
        chosen = s.method == "auto" and method == "elastic_net"
        return chosen and s.n_anchors == "auto"

    def _frame(self, X, weights):
        n_features = X.shape[1]
        affine = self.settings.affine
        if affine == "auto":
            sparsely = self.settings.method in _SPARSE_CODES
            affine = sparsely and n_features < max(self.guess, 3)
        if not affine:
            return False, np.zeros(n_features, X.dtype), 0.0
        return True, *affine_frame(X, weights, self.settings.affine_scale)

    def _choose(self, X, rows, weights):
        s = self.settings
        if s.method != "auto":
            return s.method, {}, None
        copies = weights.sum() / (weights.min() * len(X))
        discrete = copies > 2 and len(X) < s.n_neighbors * self.guess
        if discrete and self.count_is_given and s.n_clusters < len(X):
            self._log("%d distinct samples are too few for a graph", len(X))
            return "kmeans", {}, None
        if len(X) < 2 * self.guess:
            return "neighbors", {}, None
        if not self.count_is_given:
            self.guess = self._first_guess(X, rows, weights)
        choice = choose_graph(
            X,
            rows,
            weights,
            self.guess,
            assign=Assigner("kmeans", _FEW_STARTS, self.seed),
            n_neighbors=s.n_neighbors,
            seed=self.seed,
            n_jobs=s.n_jobs,
            gamma=s.gamma,
            l1_ratio=s.l1_ratio,
        )
        self._log("%s by %s", choice.method, choice.evidence)
        usable = s.shared_neighbors is None and s.alpha is None
        usable = usable and s.max_nonzero is None
        return choice.method, choice.evidence, choice.graph if usable else None

    def _build(self, X, rows, method):
        s = self.settings
        sparsely = self.sparse_rows and method in _SPARSE_CODES
        rounds = s.shared_neighbors
        if rounds is None and s.method == "auto" and method == "elastic_net":
            rounds = 0  # as in the comparison that chose it
        graph = build_graph(
            X,
            sparse.csr_array(rows) if sparsely else rows,
            "neighbors" if method == "kmeans" else method,
            n_neighbors=s.n_neighbors,
            shared_neighbors=rounds,
            n_jobs=s.n_jobs,
            device=self._device(rows),
            gamma=s.gamma,
            l1_ratio=s.l1_ratio,
            n_nonzero_coefs=s.n_nonzero_coefs,
            n_pursuits=s.n_pursuits,
            alpha=self._alpha(),
            tol=s.tol,
            max_nonzero=s.max_nonzero,
        )
        self._log("codes of %.1f samples each", graph.result.solution.nnz / len(rows))
        if not graph.result.converged:
            warn(
                "The code of a sample violates an optimality condition by "
                f"{graph.result.gap:.1e}, more than tol={s.tol}; lower gamma, or raise "
                "tol.",
                ConvergenceWarning,
            )
        return graph

    def _alpha(self):
        """Return the regularisation in squared units of the prepared rows."""
        alpha = self.settings.alpha
        return None if alpha is None else alpha / self.unit**2

    def _device(self, rows):
        return resolve_device(self.settings.device, work=float(len(rows)) * rows.size)

    def _partition(self, X, rows, space, weights, affinity, method, distortion):
        """Label all samples; return labels and the path of `n_clusters="auto"`."""
        path = np.empty((0, 2))
        if len(X) <= self.guess and self.count_is_given:
            alone = np.arange(len(X))
            return self._label_the_rest(rows, alone, weights, method), path
        if method == "kmeans":
            peak = float(np.abs(X - X[0]).max()) or 1.0
            kmeans = KMeans(
                self.settings.n_clusters,
                n_init=self.settings.n_init,
                random_state=self.seed,
            )
            return kmeans.fit((X - X[0]) / peak, sample_weight=weights).labels_, path
        affinity = weigh_nodes(affinity, weights)
        if self.count_is_given:
            labels = self._cut(rows, space, weights, affinity, distortion)
            return self._label_the_rest(rows, labels, weights, method), path
        largest = min(self.settings.max_clusters, len(X) - 1)
        affinity, components = self._connect(rows, affinity, largest)
        labels, path = self._count(
            rows, space, weights, affinity, components, method, distortion, self.assign
        )
        limited = largest == self.settings.max_clusters > 1
        if limited and path[np.argmin(path[:, 1]), 0] == largest:
            warn(
                f"The coding length is shortest for {largest} clusters, the most that "
                "were tried; raise max_clusters.",
                UserWarning,
            )
        return labels, path

    def _count(
        self, rows, space, weights, affinity, components, method, distortion, assign
    ):
        """Cut a graph into any number of clusters and keep the shortest code."""
        largest = min(self.settings.max_clusters, len(rows) - 1)
        pairs = spectral_pairs(
            affinity, largest + max(largest, 6), components=components, seed=self.seed
        )

        def cut(n_clusters):
            if n_clusters == 1:
                return np.zeros(len(rows), np.int64)
            labels = cut_graph(
                space,
                affinity,
                components,
                n_clusters,
                assign=assign,
                distortion=distortion,
                seed=self.seed,
                weights=weights,
                pairs=pairs,
            )
            return self._label_the_rest(rows, labels, weights, method)

        return choose_cut(
            space,
            cut,
            range(1, largest + 1),
            distortion=distortion,
            code_mean=space is not rows,
        )

    def _first_guess(self, X, rows, weights):
        """Count clusters of linear codes of a few samples, to compare methods with."""
        X, rows, weights = X[:_GUESS_SIZE], rows[:_GUESS_SIZE], weights[:_GUESS_SIZE]
        graph = build_graph(X, rows, "ridge", n_jobs=self.settings.n_jobs)
        affinity = weigh_nodes(graph.affinity, weights)
        components, _ = graph_components(affinity)
        if not components:
            return _GUESS
        _, path = self._count(
            rows,
            rows,
            weights,
            affinity,
            components,
            "ridge",
            noise_level(rows, graph.result.solution),
            Assigner("kmeans", _FEW_STARTS, self.seed),
        )
        found = int(path[np.argmin(path[:, 1]), 0])
        return found if found > 1 else _GUESS

    def _cut(self, rows, space, weights, affinity, distortion):
        """Label the samples of the graph; -1 for those that have to follow later."""
        n_clusters = self.settings.n_clusters
        if n_clusters == 1:
            return np.zeros(len(rows), np.int64)
        affinity, groups = self._connect(rows, affinity, n_clusters)
        return cut_graph(
            space,
            affinity,
            groups,
            n_clusters,
            assign=self.assign,
            distortion=distortion,
            seed=self.seed,
            weights=weights,
        )

    def _connect(self, rows, affinity, n_clusters):
        """Deal with more components than clusters; return graph and components."""
        groups = self._groups(rows, affinity, n_clusters)
        if len(groups) > n_clusters and self.settings.on_disconnected == "bridge":
            affinity = bridge_components(affinity, rows, groups)
            groups = self._groups(rows, affinity, n_clusters)
        if len(groups) > n_clusters:
            self._report_disconnection([len(group) for group in groups], n_clusters)
        return affinity, groups

    def _groups(self, rows, affinity, n_clusters):
        """Components of the graph, and isolated samples if they are needed, too."""
        groups, isolated = graph_components(affinity)
        if sum(map(len, groups)) < n_clusters:
            first, _, _ = distinct_rows(rows)
            alone = isolated[rows[isolated].any(axis=1) & np.isin(isolated, first)]
            groups = groups + [np.array([i]) for i in alone]
        return groups

    def _label_the_rest(self, rows, labels, weights, method):
        labels = labels.copy()
        missing = labels < 0
        if missing.all():
            labels[:] = 0
        elif missing.any():
            n_found = labels.max() + 1
            bases = fit_subspaces(rows, labels, n_found, subspace_dim=self.subspace_dim)
            known = ~missing
            largest = np.argmax(np.bincount(labels[known], weights[known]))
            labels[missing] = np.argmin(subspace_residuals(rows[missing], bases), 1)
            labels[missing & ~rows.any(axis=1)] = largest
        if not self.settings.normalize or "neighbors" in method or method == "kmeans":
            return labels
        # To codes of unit rows, multiples of a sample are copies; the embedding of a
        # copy differs from its original's by what points at it.
        return join_opposites(rows, labels)

    def _refine(self, rows, labels, n_clusters, distortion, weights):
        options = {"distortion": distortion, "subspace_dim": self.subspace_dim}
        trial, names = rows[:_TRIAL_SIZE], labels[:_TRIAL_SIZE]
        if len(trial) < len(rows) and len(np.unique(names)) == n_clusters:
            moved = refine_by_coding_length(trial, names, n_clusters, **options)
            if (moved == names).all():
                return labels
        refined = refine_by_coding_length(rows, labels, n_clusters, **options)
        self._log("refinement moved %d samples", np.sum(refined != labels))
        refined = refined.copy()
        refined[~rows.any(axis=1)] = np.argmax(np.bincount(refined, weights))
        return number_by_weight(refined, weights)[0]

    def _predictor(self, X, rows, labels, n_clusters, method, distortion):
        """Fit subspaces and whatever else the rule for new samples needs."""
        s = self.settings

        options = {"n_neighbors": s.n_neighbors, "alpha": self._alpha()}

        def code(points, prepared, names):
            return CodeBook.learn(
                method, points, prepared, names, n_clusters, **options
            )

        rule = choose_rule(
            X,
            rows,
            labels,
            n_clusters,
            method=method,
            name=s.predict_method,
            subspace_dim=self.subspace_dim,
            code=code,
            distortion=distortion,
        )
        self._log("rule %s, agreement %.3f", rule.name, rule.agreement)
        bases = fit_subspaces(
            rows,
            labels,
            n_clusters,
            subspace_dim=self.subspace_dim,
            energy=rule.energy,
        )
        state = {
            "bases_": bases,
            "subspace_dims_": np.array([len(basis) for basis in bases]),
            "predict_method_": rule.name,
            "predict_agreement_": rule.agreement,
            "_code_book": None,
            "_moments": None,
            "_distortion": distortion,
        }
        if rule.name == "representation":
            state["_code_book"] = code(X, rows, labels).state()
        elif rule.name == "coding_length":
            state["_moments"] = [
                class_moments(rows[labels == k]) for k in range(n_clusters)
            ]
        return state

    def _report_disconnection(self, sizes, n_clusters):
        name = "n_clusters" if self.count_is_given else "max_clusters"
        message = (
            f"The affinity graph has {len(sizes)} connected components, more than "
            f"{name}={n_clusters}; their sizes are {sizes[:5]}"
            f"{' ...' if len(sizes) > 5 else ''}."
        )
        if self.settings.on_disconnected == "raise":
            raise ValueError(
                f"{message} Raise n_neighbors or n_nonzero_coefs or lower l1_ratio to "
                "connect it, raise n_clusters, or set on_disconnected='merge'."
            )
        warn(
            f"{message} They are merged by their coding length; more n_neighbors or "
            "n_nonzero_coefs, or a lower l1_ratio, connect the graph better.",
            UserWarning,
        )

    def _report_lack(self, n_found):
        warn(
            f"Only {n_found} of n_clusters={self.settings.n_clusters} clusters were "
            "found: too few samples are distinct up to their scale. Lower n_clusters, "
            "or set affine=True if the scale matters.",
            ConvergenceWarning,
        )

    def _log(self, message, *values):
        if self.settings.verbose:
            logger.info("SubspaceClusterer: " + message, *values)


def _coding_space(X, rows, codes, method):
    """Return samples as they should be coded, and the distortion to code them with."""
    if method not in ("neighbors", "kmeans"):
        return rows, noise_level(rows, codes)
    peak = float(np.abs(X - X[0]).max()) or 1.0
    space = (X - X[0]) / peak
    space = space - space.mean(axis=0)
    totals = np.asarray(codes.sum(axis=1)).ravel()
    means = sparse.diags_array(1 / np.where(totals > 0, totals, 1)) @ codes
    return space, noise_level(space, sparse.csr_array(means.astype(X.dtype)))
