"""Iterative algorithms: arrays and settings in, a result out."""

from sklearn_whitebox.solvers._agglomerative_coding import (
    agglomerate_by_coding_length,
)
from sklearn_whitebox.solvers._autoencoder import (
    AutoencoderMemory,
    AutoencoderResult,
    AutoencoderSettings,
    autoencoder_step,
    replace_dead_atoms,
    train_autoencoder,
)
from sklearn_whitebox.solvers._cluster_count import (
    choose_cut,
    leading_coordinates,
)
from sklearn_whitebox.solvers._copies import (
    distinct_rows,
)
from sklearn_whitebox.solvers._dictionary_statistics import (
    DictionaryStatistics,
    update_dictionary,
)
from sklearn_whitebox.solvers._distortion_path import (
    DistortionPath,
    distortion_path,
)
from sklearn_whitebox.solvers._elastic_net import (
    elastic_net_gram,
)
from sklearn_whitebox.solvers._ensemble_subspaces import (
    co_association,
    ensemble_labels,
)
from sklearn_whitebox.solvers._geometric_median import (
    geometric_median,
)
from sklearn_whitebox.solvers._graph_choice import (
    AffinityGraph,
    GraphChoice,
    add_graphs,
    build_graph,
    choose_graph,
    weigh_nodes,
)
from sklearn_whitebox.solvers._graph_coding import (
    agglomerate_along_graph,
    cheapest_partners,
)
from sklearn_whitebox.solvers._graph_cut import (
    cut_graph,
    noise_level,
)
from sklearn_whitebox.solvers._incremental_coding import (
    ClassCoder,
    add_moments,
    class_moments,
)
from sklearn_whitebox.solvers._k_subspaces import (
    choose_subspace_dims,
    k_subspaces,
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
from sklearn_whitebox.solvers._low_rank_expression import (
    low_rank_self_expression,
)
from sklearn_whitebox.solvers._membership_graph import (
    cosine_neighbors,
    membership_affinity,
    membership_potential,
)
from sklearn_whitebox.solvers._merge_tree import (
    MergeTree,
)
from sklearn_whitebox.solvers._mod import (
    learn_dictionary_mod,
)
from sklearn_whitebox.solvers._msp import (
    haar_orthogonal,
    learn_complete_dictionary,
    maximize_sparsity,
)
from sklearn_whitebox.solvers._neighbor_graph import (
    neighbor_expression,
)
from sklearn_whitebox.solvers._omp import (
    omp_encode,
)
from sklearn_whitebox.solvers._online_dictionary import (
    learn_dictionary_online,
    online_step,
    stream_step,
)
from sklearn_whitebox.solvers._oracle_expression import (
    elastic_net_self_expression,
)
from sklearn_whitebox.solvers._palm import (
    learn_dictionary_palm,
)
from sklearn_whitebox.solvers._rate_blocks import (
    ClassBlocks,
    RateObjective,
)
from sklearn_whitebox.solvers._rate_clustering import (
    RateClusteringObjective,
    rate_clustering_loss,
    ridge_directions,
    train_rate_clusters,
)
from sklearn_whitebox.solvers._rate_reduction import (
    maximize_rate_reduction,
    maximize_view_reduction,
)
from sklearn_whitebox.solvers._rate_reduction_loss import (
    rate_loss,
)
from sklearn_whitebox.solvers._redunet import (
    array_chunks,
    build_redunet,
)
from sklearn_whitebox.solvers._redunet_finetune import (
    FinetuneSettings,
    finetune_redunet,
    layer_tensors,
    layers_from_tensors,
    spectral_rate_reduction,
)
from sklearn_whitebox.solvers._redunet_forward import (
    apply_layer,
    apply_redunet,
    automatic_temperature,
    iterate_redunet,
    layer_memberships,
)
from sklearn_whitebox.solvers._redunet_layers import (
    ReduNetLayer,
)
from sklearn_whitebox.solvers._redunet_settings import (
    ReduNetResult,
    ReduNetSettings,
)
from sklearn_whitebox.solvers._redunet_spectra import (
    frequency_weights,
    from_frequencies,
    normalize_signals,
    to_frequencies,
)
from sklearn_whitebox.solvers._redunet_update import (
    layer_moments,
    update_redunet,
)
from sklearn_whitebox.solvers._result import (
    SolverResult,
)
from sklearn_whitebox.solvers._ridge_expression import (
    ridge_self_expression,
)
from sklearn_whitebox.solvers._row_mixing import (
    RowMixing,
)
from sklearn_whitebox.solvers._self_expression import (
    disjoint_pursuits,
    self_express,
    self_expression_bytes,
)
from sklearn_whitebox.solvers._self_expression_batched import (
    self_express_batched,
)
from sklearn_whitebox.solvers._spectral import (
    SpectralPairs,
    affinity_from_codes,
    graph_components,
    pivoted_qr_labels,
    spectral_embedding,
    spectral_pairs,
)
from sklearn_whitebox.solvers._subspace_distances import (
    nearest_subspaces,
    subspace_distances,
)
from sklearn_whitebox.solvers._subspaces import (
    fit_subspaces,
    merge_by_coding_length,
    refine_by_coding_length,
    subspace_residuals,
)
from sklearn_whitebox.solvers._thresholding_expression import (
    thresholding_self_expression,
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
from sklearn_whitebox.solvers._weighted_rows import (
    merge_equal_rows,
)

__all__ = [
    "AffinityGraph",
    "AutoencoderMemory",
    "AutoencoderResult",
    "AutoencoderSettings",
    "ClassBlocks",
    "ClassCoder",
    "DictionaryStatistics",
    "DistortionPath",
    "FinetuneSettings",
    "GraphChoice",
    "MergeTree",
    "RateClusteringObjective",
    "RateObjective",
    "ReduNetLayer",
    "ReduNetResult",
    "ReduNetSettings",
    "RowMixing",
    "SolverResult",
    "SpectralPairs",
    "TrainResult",
    "TrainSettings",
    "add_graphs",
    "add_moments",
    "affinity_from_codes",
    "agglomerate_along_graph",
    "agglomerate_by_coding_length",
    "apply_layer",
    "apply_redunet",
    "array_chunks",
    "autoencoder_step",
    "automatic_temperature",
    "build_graph",
    "build_redunet",
    "cheapest_partners",
    "choose_cut",
    "choose_graph",
    "choose_subspace_dims",
    "class_moments",
    "co_association",
    "cosine_neighbors",
    "cut_graph",
    "disjoint_pursuits",
    "distinct_rows",
    "distortion_path",
    "elastic_net_gram",
    "elastic_net_self_expression",
    "ensemble_labels",
    "finetune_redunet",
    "fit_subspaces",
    "frequency_weights",
    "from_frequencies",
    "geometric_median",
    "graph_components",
    "haar_orthogonal",
    "iterate_redunet",
    "k_subspaces",
    "lasso_encode",
    "lasso_encode_batched",
    "layer_memberships",
    "layer_moments",
    "layer_tensors",
    "layers_from_tensors",
    "leading_coordinates",
    "learn_complete_dictionary",
    "learn_dictionary_ksvd",
    "learn_dictionary_mod",
    "learn_dictionary_online",
    "learn_dictionary_palm",
    "low_rank_self_expression",
    "maximize_rate_reduction",
    "maximize_sparsity",
    "maximize_view_reduction",
    "membership_affinity",
    "membership_potential",
    "merge_by_coding_length",
    "merge_equal_rows",
    "nearest_subspaces",
    "neighbor_expression",
    "noise_level",
    "normalize_signals",
    "omp_encode",
    "online_step",
    "pivoted_qr_labels",
    "rate_clustering_loss",
    "rate_loss",
    "refine_by_coding_length",
    "replace_dead_atoms",
    "ridge_directions",
    "ridge_self_expression",
    "self_express",
    "self_express_batched",
    "self_expression_bytes",
    "shuffled_batches",
    "spectral_embedding",
    "spectral_pairs",
    "spectral_rate_reduction",
    "stream_step",
    "subspace_distances",
    "subspace_residuals",
    "thresholding_self_expression",
    "to_frequencies",
    "train",
    "train_autoencoder",
    "train_rate_clusters",
    "train_sparse_encoder",
    "update_dictionary",
    "update_redunet",
    "weigh_nodes",
]
