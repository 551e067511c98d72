"""Command line: ``torchrun ... -m sklearn_whitebox.distributed``."""

import argparse
import json
import os
import sys
from pathlib import Path

_EXAMPLES = """
examples:
  torchrun --standalone --nproc-per-node=2 -m sklearn_whitebox.distributed \\
      --data train.csv --target price --estimator CRATERegressor \\
      --params '{"max_iter": 50, "random_state": 0}' \\
      --checkpoint run --output model.safetensors
  python -m sklearn_whitebox.distributed --data train.npz --output model.safetensors
"""
_NAMES = ("CRATEClassifier", "CRATERegressor")


def _make_parser():
    parser = argparse.ArgumentParser(
        prog="python -m sklearn_whitebox.distributed",
        description="Fit a CRATE by all processes that torchrun started.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", metavar="FILE", required=True, help=".csv, .parquet or .npz (X, y)")
    add("--target", metavar="NAME", default="y", help="column or array (default: y)")
    add("--validation", metavar="FILE", help="rows to watch, in the form of --data")
    add("--weight", metavar="FILE", help=".npy file with a weight for every row")
    add("--estimator", choices=_NAMES, default=_NAMES[0], help="default: %(default)s")
    add("--params", metavar="JSON", default="{}", help="its parameters, as an object")
    add("--checkpoint", metavar="DIR", help="folder to keep, and go on from")
    add(
        "--checkpoint-every",
        metavar="N",
        type=int,
        default=1,
        help="passes between two checkpoints (default: %(default)s)",
    )
    add("--output", metavar="FILE", required=True, help="model, as .safetensors")
    add("--backend", choices=("auto", "gloo", "nccl"), default="auto")
    add(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=1800.0,
        help="longest wait for another process (default: %(default)g)",
    )
    return parser


def main(arguments=None):
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, default=None
        Words of the command; None takes those of the process.

    Returns
    -------
    status : int
        0 if all went well, 2 if the input does not serve, 1 for other failures.
    """
    options = _make_parser().parse_args(arguments)
    rank = int(os.environ.get("RANK", "0"))
    try:
        estimator = _fit(options)
        if rank == 0:
            from sklearn_whitebox.persistence import save

            save(estimator, options.output)
            print(f"The model is in {options.output}.")
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"error in process {rank}: {error}", file=sys.stderr)
        return 1
    return 0


def _fit(options):
    # Importing the estimators takes a second; errors of the command line should not.
    import sklearn_whitebox
    from sklearn_whitebox.distributed._fit import fit_distributed
    from sklearn_whitebox.distributed._read import read_table, read_weights

    _check_output(Path(options.output))
    estimator = getattr(sklearn_whitebox, options.estimator)(
        **_read_params(options.params, getattr(sklearn_whitebox, options.estimator))
    )
    X, y = read_table(options.data, options.target)
    X_val, y_val = None, None
    if options.validation is not None:
        X_val, y_val = read_table(options.validation, options.target)
    weight = None
    if options.weight is not None:
        weight = read_weights(options.weight)
    return fit_distributed(
        estimator,
        X,
        y,
        sample_weight=weight,
        X_val=X_val,
        y_val=y_val,
        checkpoint=options.checkpoint,
        checkpoint_every=options.checkpoint_every,
        backend=options.backend,
        timeout=options.timeout,
    )


def _check_output(path):
    """Refuse before training what could not be written after it."""
    if path.suffix != ".safetensors":
        raise ValueError(f"--output {path} must end in .safetensors.")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--output {path} is in a folder that does not exist.")
    if path.is_dir():
        raise ValueError(f"--output {path} is a folder; give the path of a file.")
    if not os.access(path.absolute().parent, os.W_OK):
        raise ValueError(f"--output {path} is in a folder that cannot be written.")


def _read_params(text, kind):
    try:
        params = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--params is not JSON: {error}.") from error
    if not isinstance(params, dict):
        raise ValueError(
            "--params must be a JSON object, such as '{\"max_iter\": 50}'."
        )
    unknown = sorted(set(params) - set(kind().get_params(deep=False)))
    if unknown:
        raise ValueError(f"{kind.__name__} has no parameter {', '.join(unknown)}.")
    return params


if __name__ == "__main__":
    sys.exit(main())
