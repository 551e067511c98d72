"""The order in which the gallery shows the examples of a folder."""

from pathlib import Path

# What comes first is what a newcomer should see first; what is not named comes last.
READING_ORDER = [
    "plot_rate_reduction_wine",
    "plot_union_of_subspaces",
    "plot_k_subspaces",
    "plot_count_clusters",
    "plot_faces_under_light",
    "plot_segment_image_patches",
    "plot_choose_method",
    "plot_learn_and_cluster",
    "plot_recover_atoms",
    "plot_codes_in_pipeline",
    "plot_image_denoising",
    "plot_phase_diagram",
    "plot_learned_encoder",
    "plot_sparse_autoencoder",
    "plot_classes_become_orthogonal",
    "plot_embedding_against_pca_lda_nca",
    "plot_choose_distortion",
    "plot_redunet_layer_by_layer",
    "plot_shift_invariance",
    "plot_tables_against_boosting",
    "plot_layer_statistics",
    "plot_attention_variants",
    "plot_crate_digits",
    "plot_where_it_looks",
]


class ReadingOrder:
    """Sort key of file names, as sphinx-gallery wants it."""

    def __init__(self, src_dir):
        self.src_dir = src_dir

    def __call__(self, filename):
        """Return the place of a file among its neighbours."""
        name = Path(filename).stem
        place = len(READING_ORDER)
        if name in READING_ORDER:
            place = READING_ORDER.index(name)
        return place, name

    def __repr__(self):
        return "<ReadingOrder>"
