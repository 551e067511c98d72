"""What is asked of samples and atoms before codes are worth computing."""

# Rows whose products with the atoms are held at a time.
_BLOCK = 2048


def largest_correlation(X, components, *, positive):
    """Find the penalty from which on the lasso codes of all samples are zero.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    components : ndarray of shape (n_components, n_features)
        One atom per row.
    positive : bool
        Whether codes must not be negative, so that negative products do not count.

    Returns
    -------
    largest : float
        Largest inner product of a sample and an atom, in magnitude unless `positive`;
        at least zero.
    """
    largest = 0.0
    for start in range(0, len(X), _BLOCK):
        products = X[start : start + _BLOCK] @ components.T
        largest = max(largest, float(products.max(initial=0.0)))
        if not positive:
            largest = max(largest, -float(products.min(initial=0.0)))
    return largest
