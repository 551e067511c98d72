"""What every estimator of this package shares. Think twice before adding to it."""

import functools
import os
import warnings
from importlib.metadata import PackageNotFoundError, version

import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning

from sklearn_whitebox._compat import CallbackSupportMixin, _fit_context
from sklearn_whitebox._threads import fork_guard

try:
    _VERSION = version("sklearn-whitebox")
except PackageNotFoundError:  # running from a source tree that is not installed
    _VERSION = "unknown"

_STATE_FORMAT = 1
# For every older format that is read, what makes the state of the next one of it: a
# function of the name of the class and the dictionary of attributes.
_STATE_UPGRADES: dict = {}


def _upgrade_state(name, state, saved_format, saved_version):
    """Lead a pickled state from its format to the present one, or say why not."""
    if type(saved_format) is not int or saved_format < 1:
        raise ValueError(
            f"This {name} has the state format {saved_format!r}, which never was; it "
            "was not saved by sklearn_whitebox, or it was changed."
        )
    if saved_format > _STATE_FORMAT:
        raise ValueError(
            f"This {name} was saved by sklearn_whitebox {saved_version} in state "
            f"format {saved_format}; {_VERSION} reads up to {_STATE_FORMAT}. "
            "Upgrade sklearn_whitebox."
        )
    for older in range(saved_format, _STATE_FORMAT):
        if older not in _STATE_UPGRADES:
            raise ValueError(
                f"This {name} was saved by sklearn_whitebox {saved_version} in state "
                f"format {saved_format}, which {_VERSION} does not read any more. "
                "Load and save it with a version between them, or fit it again."
            )
        state = _STATE_UPGRADES[older](name, state)
    return state


def all_or_nothing(*, prefer_skip_nested_validation=True):
    """Decorate a fitting method: validate parameters, and commit all or nothing.

    Any exception, Ctrl-C included, puts the attributes back as they were, so a failed
    fit leaves an unfitted estimator unfitted and a fitted one with its old model. That
    asks of the method that it binds new arrays and never writes into fitted ones.

    Parameters
    ----------
    prefer_skip_nested_validation : bool, default=True
        As in scikit-learn's ``_fit_context``.

    Returns
    -------
    decorator : callable
        Decorator of a method that fits.
    """

    def decorate(method):
        validated = _fit_context(
            prefer_skip_nested_validation=prefer_skip_nested_validation
        )(method)

        @functools.wraps(method)
        def fit(estimator, *args, **kwargs):
            before = dict(vars(estimator))
            # Fitting must work inside the caller's no_grad and inference_mode, too.
            with (
                fork_guard(),
                torch.inference_mode(False),
                torch.enable_grad(),
            ):
                try:
                    return validated(estimator, *args, **kwargs)
                except BaseException:
                    vars(estimator).clear()
                    vars(estimator).update(before)
                    raise

        return fit

    return decorate


class WhiteboxVersionWarning(InconsistentVersionWarning):
    """A model was saved by another version of this package."""

    def __init__(self, *, estimator_name, saved_version):
        super().__init__(
            estimator_name=estimator_name,
            current_sklearn_version=_VERSION,
            original_sklearn_version=saved_version,
        )

    def __str__(self):
        """Say which versions met, and what to do."""
        return (
            f"{self.estimator_name} was saved by sklearn_whitebox "
            f"{self.original_sklearn_version} and is loaded by "
            f"{self.current_sklearn_version}; check its predictions or fit it again."
        )


class WhiteboxEstimator(CallbackSupportMixin, BaseEstimator):
    """Base of all estimators: callbacks, documentation links, versioned state."""

    _doc_link_module = "sklearn_whitebox"

    @property
    def _doc_link_template(self):
        # Wherever the site that `make docs` builds is served; no link without it.
        site = os.environ.get("SKLEARN_WHITEBOX_DOC_URL", "").rstrip("/")
        page = "/generated/sklearn_whitebox.{estimator_name}.html"
        return site + page if site else ""

    def _doc_link_url_param_generator(self, *_):
        return {"estimator_name": type(self).__name__}

    def __getstate__(self):
        state = dict(super().__getstate__())
        state["_whitebox_version"] = _VERSION
        state["_whitebox_format"] = _STATE_FORMAT
        return state

    def __setstate__(self, state):
        state = dict(state)
        name = type(self).__name__
        saved_format = state.pop("_whitebox_format", 1)
        saved_version = state.pop("_whitebox_version", "unknown")
        state = _upgrade_state(name, state, saved_format, saved_version)
        if saved_version != _VERSION:
            warnings.warn(
                WhiteboxVersionWarning(
                    estimator_name=name, saved_version=saved_version
                ),
                stacklevel=2,
            )
        super().__setstate__(state)
