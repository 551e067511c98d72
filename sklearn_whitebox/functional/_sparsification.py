"""Sparsification: proximal steps on tokens, and the objective they lower."""

from torch import Tensor

from sklearn_whitebox.functional._arrays import accepts_arrays


@accepts_arrays
def sparsification_step(
    tokens: Tensor,
    dictionary: Tensor,
    *,
    step_size: Tensor | float = 0.1,
    sparsity: Tensor | float = 0.1,
) -> Tensor:
    r"""Sparsify tokens by one proximal step on a non-negative lasso.

    .. math:: \operatorname{relu}\bigl(Z + s (Z - Z D^\top) D - s\lambda\bigr)

    The step is on :math:`\tfrac12\|Z - A D^\top\|^2 + \lambda\|A\|_1` over
    :math:`A \ge 0`, started at :math:`A = Z`.

    Parameters
    ----------
    tokens : Tensor of shape (..., n_tokens, n_features)
        Tokens, both the target and the start.
    dictionary : Tensor of shape (n_features, n_features)
        Complete dictionary D, one atom a column.
    step_size : float, default=0.1
        Step s. The objective falls from a non-negative start if it is at most
        :math:`1/\|D\|_2^2`.
    sparsity : float, default=0.1
        Weight λ of the one-norm.

    Returns
    -------
    codes : Tensor of shape (..., n_tokens, n_features)
        Non-negative codes.

    Notes
    -----
    Two products of O(n d²): the residual is formed first.

    References
    ----------
    .. [1] Yu et al. (2023). White-box transformers via sparse rate reduction. NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> tokens = np.array([[1.0, -1.0]])
    >>> sparsification_step(tokens, np.eye(2), step_size=0.5, sparsity=0.5)
    array([[0.75, 0.  ]])
    """
    residual = tokens - tokens @ dictionary.mT
    step = step_size * (residual @ dictionary)
    return (tokens + step - step_size * sparsity).relu()


@accepts_arrays
def overcomplete_codes(
    tokens: Tensor,
    dictionary: Tensor,
    *,
    step_size: Tensor | float = 0.1,
    sparsity: Tensor | float = 0.1,
    n_steps: int = 2,
) -> Tensor:
    r"""Code tokens in an overcomplete dictionary by a few proximal steps from zero.

    .. math:: A \leftarrow \operatorname{relu}\bigl(A - \eta (A D^\top - Z) D
       - \eta\lambda\bigr)

    Parameters
    ----------
    tokens : Tensor of shape (..., n_tokens, n_features)
        Tokens to code.
    dictionary : Tensor of shape (n_features, n_atoms)
        Dictionary D, one atom a column.
    step_size : float, default=0.1
        Step η; many steps diverge above :math:`2/\|D\|_2^2`.
    sparsity : float, default=0.1
        Weight λ of the one-norm.
    n_steps : int, default=2
        Number of steps, at least one.

    Returns
    -------
    codes : Tensor of shape (..., n_tokens, n_atoms)
        Non-negative codes.

    Notes
    -----
    Costs O(n d m) a product for m atoms, 2 n_steps - 1 of them.

    References
    ----------
    .. [1] Yang et al. (2024). Scaling white-box transformers for vision. NeurIPS.
    """
    if n_steps < 1:
        raise ValueError(f"n_steps={n_steps} must be at least 1.")
    threshold = step_size * sparsity
    codes = (step_size * (tokens @ dictionary) - threshold).relu()
    for _ in range(n_steps - 1):
        residual = codes @ dictionary.mT - tokens
        codes = (codes - step_size * (residual @ dictionary) - threshold).relu()
    return codes


@accepts_arrays
def overcomplete_step(
    tokens: Tensor,
    dictionary: Tensor,
    decoder: Tensor | None = None,
    *,
    step_size: Tensor | float = 0.1,
    sparsity: Tensor | float = 0.1,
    n_steps: int = 2,
) -> Tensor:
    r"""Denoise tokens through sparse codes in an overcomplete dictionary (ODL).

    Parameters
    ----------
    tokens : Tensor of shape (..., n_tokens, n_features)
        Tokens to code.
    dictionary : Tensor of shape (n_features, n_atoms)
        Dictionary that codes, one atom a column.
    decoder : Tensor of shape (n_features, n_atoms) or None, default=None
        Dictionary that decodes; None takes `dictionary`.
    step_size : float, default=0.1
        Step of :func:`overcomplete_codes`.
    sparsity : float, default=0.1
        Weight of the one-norm.
    n_steps : int, default=2
        Number of proximal steps.

    Returns
    -------
    tokens : Tensor of shape (..., n_tokens, n_features)
        The codes times the transposed decoder; unlike the codes they are not sparse.

    References
    ----------
    .. [1] Yang et al. (2024). Scaling white-box transformers for vision. NeurIPS.
    """
    codes: Tensor = overcomplete_codes(
        tokens,
        dictionary,
        step_size=step_size,
        sparsity=sparsity,
        n_steps=n_steps,
    )
    return codes @ (dictionary if decoder is None else decoder).mT


@accepts_arrays
def lasso_objective(
    tokens: Tensor, codes: Tensor, dictionary: Tensor, *, sparsity: Tensor | float = 0.1
) -> Tensor:
    r"""Objective that a sparsification step lowers, summed over the tokens.

    .. math:: \tfrac12 \|Z - A D^\top\|^2 + \lambda \|A\|_1

    Parameters
    ----------
    tokens : Tensor of shape (..., n_tokens, n_features)
        Target Z.
    codes : Tensor of shape (..., n_tokens, n_atoms)
        Codes A.
    dictionary : Tensor of shape (n_features, n_atoms)
        Dictionary D, one atom a column.
    sparsity : float, default=0.1
        Weight λ of the one-norm.

    Returns
    -------
    objective : Tensor of shape (...)
        Sum over tokens and coordinates.
    """
    residual = tokens - codes @ dictionary.mT
    return (residual**2).sum((-2, -1)) / 2 + sparsity * codes.abs().sum((-2, -1))
