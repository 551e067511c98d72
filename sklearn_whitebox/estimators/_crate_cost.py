"""What passing rows through a CRATE costs: operations, and memory for attention."""

from sklearn import get_config

# Most rows sent through the network at once when nothing has to be differentiated.
_CHUNK = 512


def attention_bytes(module, itemsize):
    """Give the size of the attention weights of a row in a layer.

    Parameters
    ----------
    module : CRATE
        Network, on any device.
    itemsize : int
        Bytes of a number.

    Returns
    -------
    n_bytes : float
        Bytes; zero for attention by second moments.
    """
    if module.config.attention != "mssa":
        return 0.0
    return float(itemsize * module.config.n_heads * (module.tokens.n_tokens + 1) ** 2)


def rows_at_once(module):
    """Choose how many rows go through the network without being differentiated.

    Parameters
    ----------
    module : CRATE
        Network, on any device.

    Returns
    -------
    n_rows : int
        Up to 512, fewer where their attention would be larger than scikit-learn's
        ``working_memory``.
    """
    # Logits, exponentials and weights live at the same time, in double precision.
    per_row = 3 * attention_bytes(module, 8) * module.config.n_members
    budget = get_config()["working_memory"] * 2**20
    return int(min(max(budget // per_row, 1), _CHUNK)) if per_row else _CHUNK


def count_multiply_adds(module):
    """Count the multiply-adds of the forward pass of one row.

    Parameters
    ----------
    module : CRATE
        Network, on any device.

    Returns
    -------
    work : float
        Multiply-adds of the matrix products.
    """
    config, n_tokens = module.config, module.tokens.n_tokens + 1
    work = 0
    # The matrix of an ISTA step is made once; an overcomplete one is used many times.
    n_products = 2 * config.n_steps - 1 if config.sparsifier == "odl" else 1
    for name, parameter in module.named_parameters():
        if name.startswith("layers.") and parameter.ndim == 2:
            repeats = n_products if name.endswith("sparsify.dictionary") else 1
            work += repeats * parameter.numel() * n_tokens
    if config.attention == "mssa":
        work += 2 * config.n_layers * n_tokens**2 * config.inner_width
    # Members share the tokens that enter them, but not the layers' work.
    work *= config.n_members
    if config.tokens == "patch":
        return float(work + module.tokens.n_multiply_adds)
    return float(work + sum(p.numel() for p in module.tokens.parameters()))
