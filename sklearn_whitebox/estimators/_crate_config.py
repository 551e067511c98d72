"""From the classifier's parameters to the architecture of a CRATE, with checks."""

import math
from numbers import Integral

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from sklearn_whitebox.modules._crate_steps import CRATEConfig
from sklearn_whitebox.modules._patches import check_patch_size, default_patch_size


def make_config(estimator, n_features, n_classes):
    """Make the architecture that the parameters ask for.

    Parameters
    ----------
    estimator : CRATEClassifier
        Its parameters are read.
    n_features : int
        Number of columns of the data.
    n_classes : int
        Number of classes.

    Returns
    -------
    config : CRATEConfig
        Architecture.

    Raises
    ------
    ValueError
        If the parameters do not fit the data or one another.
    """
    settings = {
        "n_outputs": n_classes,
        "n_features": n_features,
        "d_token": int(estimator.d_token),
        "n_layers": int(estimator.n_layers),
        "n_heads": int(estimator.n_heads),
        "attention": estimator.attention,
        "sparsifier": estimator.sparsifier,
        "dropout": float(estimator.dropout),
    }
    if estimator.d_token % estimator.n_heads:
        raise ValueError(
            f"n_heads={estimator.n_heads} must divide d_token={estimator.d_token}."
        )
    if estimator.image_shape is None:
        if estimator.patch_size is not None:
            raise ValueError(
                f"patch_size={estimator.patch_size} needs image_shape=(height, width)."
            )
        if estimator.tokens == "dense":
            settings["n_tokens"] = int(estimator.n_tokens)
        return CRATEConfig(tokens=estimator.tokens, **settings)
    shape = check_image_shape(estimator.image_shape, n_features)
    patch_size = estimator.patch_size or default_patch_size(shape)
    check_patch_size(shape, patch_size)
    return CRATEConfig(
        tokens="patch",
        image_shape=shape,
        patch_size=int(patch_size),
        # On fewer values a layer norm would leave hardly a degree of freedom.
        patch_norm=patch_size**2 * shape[2] >= 16,
        **settings,
    )


def check_image_shape(image_shape, n_features):
    """Complete the shape of the images, and refuse one that does not fit the rows.

    Parameters
    ----------
    image_shape : tuple or list
        Height, width and perhaps number of channels.
    n_features : int
        Number of columns of the data.

    Returns
    -------
    shape : (int, int, int)
        Height, width and number of channels.

    Raises
    ------
    ValueError
        If it is no shape of an image or its product is not `n_features`.
    """
    shape = tuple(image_shape)
    whole = all(isinstance(side, Integral) and side > 0 for side in shape)
    if len(shape) not in (2, 3) or not whole:
        raise ValueError(
            f"image_shape={image_shape!r} must be (height, width) or (height, width, "
            "n_channels), all positive integers."
        )
    if math.prod(shape) != n_features:
        raise ValueError(
            f"image_shape={image_shape!r} has {math.prod(shape)} values, but X has "
            f"{n_features} features; the product must be equal."
        )
    return tuple(int(side) for side in (*shape, 1)[:3])


def warm_weights(fitted, classes, config):
    """Give the weights of a previous fit if they fit the network to be trained.

    Parameters
    ----------
    fitted : dict
        Attributes of the estimator before this fit.
    classes : ndarray
        Class labels.
    config : CRATEConfig
        Architecture to be trained.

    Returns
    -------
    weights : dict of str to ndarray or None
        Weights; None if there was no fit.

    Raises
    ------
    ValueError
        If classes or architecture are others.
    """
    if "weights_" not in fitted:
        return None
    same_classes = np.array_equal(fitted["classes_"], classes)
    # Dropout is of the training: it says nothing about the weights.
    then, now = ({**c, "dropout": 0.0} for c in (fitted["_architecture"], vars(config)))
    if not same_classes or then != now:
        raise ValueError(
            "warm_start=True needs the classes, features and architecture of the "
            "previous fit; use warm_start=False or clone the estimator."
        )
    return fitted["weights_"]


def prepare_labels(y, sample_weight, class_weight):
    """Encode classes as numbers, and weigh the rows by sample and class.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Class labels.
    sample_weight : ndarray of shape (n_samples,)
        Weights of the rows.
    class_weight : dict, "balanced" or None
        Weights of the classes.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        Class labels.
    kept : ndarray of bool of shape (n_samples,)
        Rows of positive weight.
    labels : ndarray of int
        Class numbers of the rows kept.
    weight : ndarray of float
        Weights of the rows kept, with mean one.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or fewer than two classes have rows to
        learn from.
    """
    check_classification_targets(y)
    if isinstance(class_weight, dict):
        for label, value in class_weight.items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(
                    f"class_weight={class_weight!r} must not be negative, infinite or "
                    f"NaN; that of class {label!r} is {value!r}."
                )
    if (sample_weight < 0).any():
        raise ValueError("sample_weight must not be negative.")
    kept = sample_weight > 0
    # Balanced classes are balanced without the rows that are left out.
    y, weight = y[kept], sample_weight[kept]
    classes, labels = np.unique(y, return_inverse=True)
    if class_weight is not None:
        weight = weight * compute_sample_weight(class_weight, y)
        positive = weight > 0
        kept[kept] = positive
        labels, weight = labels[positive], weight[positive]
    if len(np.unique(labels)) < 2:
        raise ValueError(
            "CRATEClassifier needs samples of at least 2 classes with positive weight "
            f"in the data, but there is only one class: {classes[labels[:1]].tolist()}."
            if len(labels)
            else "CRATEClassifier needs samples of positive weight, but all weights of "
            "samples or of their classes are zero."
        )
    return classes, kept, labels, weight / weight.mean()
