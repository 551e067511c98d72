"""Import an optional dependency, or say which extra installs it."""

import importlib


def require(module, *, extra, purpose):
    """Import an optional module.

    Parameters
    ----------
    module : str
        Name of the module.
    extra : str
        Extra of this package that installs it.
    purpose : str
        What needs it, as the subject of the error message.

    Returns
    -------
    module : module
        The imported module.

    Raises
    ------
    ImportError
        If it is not installed, with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"{purpose} needs {package}, which is not installed; "
            f"run: pip install 'sklearn-whitebox[{extra}]'"
        ) from error
