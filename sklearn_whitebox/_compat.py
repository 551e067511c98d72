"""Every private scikit-learn import and version difference, in one place."""

from sklearn.base import _fit_context
from sklearn.utils._param_validation import (
    HasMethods,
    Hidden,
    Interval,
    InvalidParameterError,
    StrOptions,
)
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import _check_sample_weight

try:
    from sklearn.callback import CallbackSupportMixin

    HAS_CALLBACKS = True
except ImportError:  # TODO: remove when scikit-learn >= 1.9 is the minimum
    HAS_CALLBACKS = False

    class CallbackSupportMixin:
        """Stand-in without methods: callbacks need scikit-learn 1.9."""


__all__ = [
    "HAS_CALLBACKS",
    "CallbackSupportMixin",
    "HasMethods",
    "Hidden",
    "Interval",
    "InvalidParameterError",
    "StrOptions",
    "_check_sample_weight",
    "_fit_context",
    "_get_output_config",
]
