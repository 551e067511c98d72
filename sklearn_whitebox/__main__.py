"""Command line: ``python -m sklearn_whitebox compare``."""

import argparse
import sys

_EXAMPLES = """
examples:
  python -m sklearn_whitebox compare
  python -m sklearn_whitebox compare --data wine.csv --target quality --n-jobs 2
  python -m sklearn_whitebox compare --data faces.npz --image-shape 32 32 --quick
"""


def _make_parser():
    parser = argparse.ArgumentParser(
        prog="python -m sklearn_whitebox", description="White-box representations."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    compare = commands.add_parser(
        "compare",
        help="compare the estimators with their baselines on one data set",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = compare.add_argument
    add("--data", metavar="FILE", help=".csv, .parquet or .npz; default: digits")
    add("--target", metavar="COLUMN", help="column with the class labels")
    add(
        "--image-shape",
        nargs="+",
        type=int,
        metavar="N",
        help="height, width and perhaps channels, if rows are images",
    )
    add("--cv", type=int, default=5, help="number of folds (default: %(default)s)")
    add("--n-jobs", type=int, help="folds computed at the same time (default: 1)")
    add("--device", default="auto", help="auto, cpu, cuda, … (default: %(default)s)")
    add(
        "--estimators",
        nargs="+",
        metavar="NAME",
        help="class names to compare (default: all)",
    )
    add(
        "--output",
        metavar="DIR",
        default="results",
        help="folder of the results (default: %(default)s)",
    )
    add("--seed", type=int, default=0, help="random state (default: %(default)s)")
    add("--quick", action="store_true", help="few rows and folds, for a first look")
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
        0 if all went well, 2 if the input does not serve, 130 if interrupted.
    """
    options = _make_parser().parse_args(arguments)
    # Importing the estimators takes a second; errors of the command line should not.
    from sklearn_whitebox.comparison import DataError, compare, format_report

    try:
        results = compare(
            options.data,
            target=options.target,
            image_shape=options.image_shape,
            cv=options.cv,
            n_jobs=options.n_jobs,
            device=options.device,
            estimators=options.estimators,
            output=options.output,
            quick=options.quick,
            random_state=options.seed,
        )
    except (DataError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; no results were written", file=sys.stderr)
        return 130
    print(format_report(results))
    print(f"Results are in {options.output}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
