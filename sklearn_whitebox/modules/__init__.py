"""Network modules in plain torch, usable without scikit-learn."""

from sklearn_whitebox.modules._augment import (
    augment_images,
)
from sklearn_whitebox.modules._categories import (
    CategoryEmbedding,
)
from sklearn_whitebox.modules._cluster_network import (
    ClusterNetwork,
)
from sklearn_whitebox.modules._crate import (
    CRATE,
)
from sklearn_whitebox.modules._crate_attention import (
    StatisticsAttention,
    SubspaceAttention,
)
from sklearn_whitebox.modules._crate_checkpoint import (
    load_original_checkpoint,
)
from sklearn_whitebox.modules._crate_config import (
    CRATEConfig,
)
from sklearn_whitebox.modules._crate_decoder import (
    CRATEDecoderLayer,
)
from sklearn_whitebox.modules._crate_layer import (
    CRATELayer,
    LayerTrace,
)
from sklearn_whitebox.modules._crate_presets import (
    crate_preset,
)
from sklearn_whitebox.modules._crate_statistics import (
    layer_statistics,
)
from sklearn_whitebox.modules._crate_steps import (
    ISTAStep,
    MLPStep,
    OvercompleteStep,
)
from sklearn_whitebox.modules._encoders import (
    SphereEncoder,
    make_mlp,
)
from sklearn_whitebox.modules._encodings import (
    LinearEncoding,
    PeriodicEncoding,
    PiecewiseLinearEncoding,
)
from sklearn_whitebox.modules._image_tokens import (
    PatchTokens,
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
)

__all__ = [
    "CRATE",
    "CRATEConfig",
    "CRATEDecoderLayer",
    "CRATELayer",
    "CategoryEmbedding",
    "CircularLift",
    "ClusterNetwork",
    "DenseTokens",
    "FeatureTokens",
    "ISTAStep",
    "LayerTrace",
    "LinearEncoding",
    "MLPStep",
    "OvercompleteStep",
    "PatchTokens",
    "PeriodicEncoding",
    "PiecewiseLinearEncoding",
    "RandomLift",
    "ReduNet",
    "SparseAutoencoderModule",
    "SphereEncoder",
    "StatisticsAttention",
    "SubspaceAttention",
    "SubspaceHead",
    "UnrolledEncoder",
    "augment_images",
    "crate_preset",
    "images_to_patches",
    "layer_statistics",
    "load_original_checkpoint",
    "make_mlp",
    "patches_to_images",
]
