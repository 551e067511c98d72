"""Iterative algorithms: arrays and settings in, a result out."""

from sklearn_whitebox.solvers._autoencoder import (
    AutoencoderMemory,
    AutoencoderResult,
    AutoencoderSettings,
    autoencoder_step,
    replace_dead_atoms,
    train_autoencoder,
)
from sklearn_whitebox.solvers._copies import (
    distinct_rows,
)
from sklearn_whitebox.solvers._dictionary_statistics import (
    DictionaryStatistics,
    update_dictionary,
)
from sklearn_whitebox.solvers._elastic_net import (
    elastic_net_gram,
)
from sklearn_whitebox.solvers._geometric_median import (
    geometric_median,
)
from sklearn_whitebox.solvers._graph_cut import (
    cut_graph,
    noise_level,
)
from sklearn_whitebox.solvers._ksvd import (
    learn_dictionary_ksvd,
)
from sklearn_whitebox.solvers._lasso_batched import (
    lasso_encode_batched,
)
from sklearn_whitebox.solvers._lasso_encode import (
    lasso_encode,
)
from sklearn_whitebox.solvers._mod import (
    learn_dictionary_mod,
)
from sklearn_whitebox.solvers._msp import (
    haar_orthogonal,
    learn_complete_dictionary,
    maximize_sparsity,
)
from sklearn_whitebox.solvers._omp import (
    omp_encode,
)
from sklearn_whitebox.solvers._online_dictionary import (
    learn_dictionary_online,
    online_step,
    stream_step,
)
from sklearn_whitebox.solvers._palm import (
    learn_dictionary_palm,
)
from sklearn_whitebox.solvers._rate_reduction import (
    maximize_rate_reduction,
)
from sklearn_whitebox.solvers._result import (
    SolverResult,
)
from sklearn_whitebox.solvers._self_expression import (
    disjoint_pursuits,
    elastic_net_self_expression,
    self_express,
)
from sklearn_whitebox.solvers._spectral import (
    affinity_from_codes,
    graph_components,
    pivoted_qr_labels,
    spectral_embedding,
)
from sklearn_whitebox.solvers._subspaces import (
    fit_subspaces,
    merge_by_coding_length,
    refine_by_coding_length,
    subspace_residuals,
)
from sklearn_whitebox.solvers._train import (
    TrainResult,
    TrainSettings,
    train,
)
from sklearn_whitebox.solvers._unrolled import (
    shuffled_batches,
    train_sparse_encoder,
)

__all__ = [
    "AutoencoderMemory",
    "AutoencoderResult",
    "AutoencoderSettings",
    "DictionaryStatistics",
    "SolverResult",
    "TrainResult",
    "TrainSettings",
    "affinity_from_codes",
    "autoencoder_step",
    "cut_graph",
    "disjoint_pursuits",
    "distinct_rows",
    "elastic_net_gram",
    "elastic_net_self_expression",
    "fit_subspaces",
    "geometric_median",
    "graph_components",
    "haar_orthogonal",
    "lasso_encode",
    "lasso_encode_batched",
    "learn_complete_dictionary",
    "learn_dictionary_ksvd",
    "learn_dictionary_mod",
    "learn_dictionary_online",
    "learn_dictionary_palm",
    "maximize_rate_reduction",
    "maximize_sparsity",
    "merge_by_coding_length",
    "noise_level",
    "omp_encode",
    "online_step",
    "pivoted_qr_labels",
    "refine_by_coding_length",
    "replace_dead_atoms",
    "self_express",
    "shuffled_batches",
    "spectral_embedding",
    "stream_step",
    "subspace_residuals",
    "train",
    "train_autoencoder",
    "train_sparse_encoder",
    "update_dictionary",
]
