"""Network modules in plain torch, usable without scikit-learn."""

from sklearn_whitebox.modules._cluster_network import (
    ClusterNetwork,
)
from sklearn_whitebox.modules._crate import (
    CRATE,
    CRATELayer,
)
from sklearn_whitebox.modules._crate_attention import (
    StatisticsAttention,
    SubspaceAttention,
)
from sklearn_whitebox.modules._crate_statistics import (
    layer_statistics,
)
from sklearn_whitebox.modules._crate_steps import (
    CRATEConfig,
    ISTAStep,
    MLPStep,
    OvercompleteStep,
)
from sklearn_whitebox.modules._encoders import (
    SphereEncoder,
    make_mlp,
)
from sklearn_whitebox.modules._learned_encoder import (
    UnrolledEncoder,
)
from sklearn_whitebox.modules._lifting import (
    CircularLift,
    RandomLift,
)
from sklearn_whitebox.modules._patches import (
    images_to_patches,
    patches_to_images,
)
from sklearn_whitebox.modules._redunet import (
    ReduNet,
    SubspaceHead,
)
from sklearn_whitebox.modules._sparse_autoencoder import (
    SparseAutoencoderModule,
)
from sklearn_whitebox.modules._tokens import (
    DenseTokens,
    FeatureTokens,
    PatchTokens,
    PeriodicEncoding,
)

__all__ = [
    "CRATE",
    "CRATEConfig",
    "CRATELayer",
    "CircularLift",
    "ClusterNetwork",
    "DenseTokens",
    "FeatureTokens",
    "ISTAStep",
    "MLPStep",
    "OvercompleteStep",
    "PatchTokens",
    "PeriodicEncoding",
    "RandomLift",
    "ReduNet",
    "SparseAutoencoderModule",
    "SphereEncoder",
    "StatisticsAttention",
    "SubspaceAttention",
    "SubspaceHead",
    "UnrolledEncoder",
    "images_to_patches",
    "layer_statistics",
    "make_mlp",
    "patches_to_images",
]
