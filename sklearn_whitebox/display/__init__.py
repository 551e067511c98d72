"""Displays: the only place that imports matplotlib."""

from sklearn_whitebox.display._affinity import (
    AffinityDisplay,
)
from sklearn_whitebox.display._atoms import (
    AtomsDisplay,
)
from sklearn_whitebox.display._attention import (
    AttentionMapDisplay,
)
from sklearn_whitebox.display._class_spectra import (
    ClassSpectraDisplay,
)
from sklearn_whitebox.display._embedding import (
    EmbeddingDisplay,
)
from sklearn_whitebox.display._feature_attribution import (
    FeatureAttributionDisplay,
)
from sklearn_whitebox.display._feature_sphere import (
    FeatureSphereDisplay,
)
from sklearn_whitebox.display._layer_statistics import (
    LayerStatisticsDisplay,
)
from sklearn_whitebox.display._loss_curve import (
    LossCurveDisplay,
)
from sklearn_whitebox.display._principal_angles import (
    PrincipalAngleDisplay,
)
from sklearn_whitebox.display._rate_curve import (
    RateCurveDisplay,
)
from sklearn_whitebox.display._score_time import (
    ScoreTimeDisplay,
)

__all__ = [
    "AffinityDisplay",
    "AtomsDisplay",
    "AttentionMapDisplay",
    "ClassSpectraDisplay",
    "EmbeddingDisplay",
    "FeatureAttributionDisplay",
    "FeatureSphereDisplay",
    "LayerStatisticsDisplay",
    "LossCurveDisplay",
    "PrincipalAngleDisplay",
    "RateCurveDisplay",
    "ScoreTimeDisplay",
]
