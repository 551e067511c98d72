"""The methods that show what a CRATE estimator does with its rows."""

from sklearn_whitebox.estimators._crate_views import (
    attribute_features,
    check_attributions,
    measure_layers,
    read_attention,
    read_subspaces,
    read_tokens,
)


class InspectionMixin:
    """Attention, subspaces, tokens, rates and attributions of a fitted network."""

    def attention_maps(self, X, layer=-1):
        """Show what the class token, or a token on average, reads in a layer.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows as in :meth:`fit`.
        layer : int or "rollout", default=-1
            Number of the layer; negative numbers count from the last. ``"rollout"``
            multiplies the attention of all layers, averaged over the heads and with
            equal parts of the identity for the residual connections, as one head. It
            ignores what the sparse steps do and is a heuristic.

        Returns
        -------
        maps : ndarray of shape (n_samples, n_heads, n_tokens) or \
                (n_samples, n_heads, n_rows, n_columns)
            For ``attention="mssa"`` the weight of each token in the row of the class
            token, which with its weight on itself sums to one, or the mean row where
            there is no class token; for ``"tssa"`` the membership of each token in the
            subspace of the head, which sums to one over the heads. Images give the grid
            of their patches.

        Raises
        ------
        ValueError
            If there is no such layer, or no attention between tokens to roll out.

        Notes
        -----
        Of an ensemble the first network and member is read, here as in
        :meth:`subspace_maps` and :meth:`token_features`.
        """
        return read_attention(self, X, layer)

    def subspace_maps(self, X, layer=-1):
        r"""Give the share of every token that lies in the subspace of each head.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows as in :meth:`fit`.
        layer : int, default=-1
            Number of the layer; negative numbers count from the last.

        Returns
        -------
        maps : ndarray of shape (n_samples, n_heads, n_tokens)
            :math:`\|z_i U_k\|^2 / \sum_l \|z_i U_l\|^2` of the normalised token that
            enters the layer; sums to one over the heads. The class token is left out.
            For images the tokens are laid out as (n_rows, n_columns) of patches.

        Raises
        ------
        ValueError
            If there is no such layer.
        """
        return read_subspaces(self, X, layer)

    def token_features(self, X, layer=-1):
        """Give the tokens that leave a layer.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows as in :meth:`fit`.
        layer : int or None, default=-1
            Number of the layer; negative numbers count from the last. None gives the
            tokens that enter the first.

        Returns
        -------
        tokens : ndarray of shape (n_samples, n_tokens, d_token)
            Tokens; the class token, if there is one, comes first. One token per feature
            follows the order of the columns.

        Raises
        ------
        ValueError
            If there is no such layer.
        """
        return read_tokens(self, X, layer)

    def layer_statistics(self, X, *, distortion=0.01, max_samples=256):
        """Measure what each layer compresses and how sparse it leaves the tokens.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows as in :meth:`fit`.
        distortion : float, default=0.01
            Allowed mean squared error per token of unit norm, ε².
        max_samples : int or None, default=256
            Look at the first so many rows only; None looks at all.

        Returns
        -------
        statistics : dict of str to ndarray
            One row a layer; see
            :func:`sklearn_whitebox.modules.layer_statistics`.

        Raises
        ------
        ValueError
            If `max_samples` or `distortion` is not positive.

        Notes
        -----
        Costs a forward pass, and O(n q min(n, q)) time for the rate of each head and
        row, n tokens and q their width in the head. The rates need not fall from layer
        to layer in small networks.
        """
        return measure_layers(self, X, distortion=distortion, max_samples=max_samples)

    def feature_attributions(
        self, X, *, target=None, baseline="median", n_steps=32, level="feature"
    ):
        """Share the distance of every prediction from that of a baseline among columns.

        These are integrated gradients: the gradient of the prediction, integrated on
        the way from the baseline to the row, times the way itself. The way is straight
        in the codes of the columns, which the first matrix of the network reads.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows as in :meth:`fit`.
        target : label, int or None, default=None
            What is attributed: the log-odds of this class, or of the class predicted
            for each row; of a regression the output of this number, which may be None
            if there is but one.
        baseline : "median" or array-like of shape (n_features,), default="median"
            Row that contributes nothing. ``"median"`` has the medians of the training
            rows, or the mean of the channels of images, and an unknown value in nominal
            columns.
        n_steps : int, default=32
            Points on the way.
        level : {"feature", "token"}, default="feature"
            Attribute to the columns, or pixels, or to the tokens made of them.

        Returns
        -------
        attributions : ndarray of shape (n_samples, n_features) or \
                (n_samples, n_tokens) or (n_samples, n_rows, n_columns)
            Signed. The sum over a row is its prediction minus that of the baseline.
            Tokens of images are on the grid of the patches.

        Raises
        ------
        ValueError
            If the target is none of the model's, or a setting is unknown.

        Notes
        -----
        Costs `n_steps` forward and backward passes of all networks.
        """
        return attribute_features(
            self, X, target=target, baseline=baseline, n_steps=n_steps, level=level
        )

    def check_attributions(
        self,
        X,
        y,
        *,
        target=None,
        baseline="median",
        n_steps=32,
        n_repeats=5,
        random_state=None,
        n_jobs=None,
    ):
        """Compare attributions with what shuffling a column costs on labelled rows.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows, best not seen in training.
        y : array-like of shape (n_samples,)
            Their labels or targets.
        target : label, int or None, default=None
            As in :meth:`feature_attributions`.
        baseline : "median" or array-like of shape (n_features,), default="median"
            As in :meth:`feature_attributions`.
        n_steps : int, default=32
            As in :meth:`feature_attributions`.
        n_repeats : int, default=5
            How often each column is shuffled.
        random_state : int, RandomState instance or None, default=None
            Determines the shuffling.
        n_jobs : int or None, default=None
            Columns shuffled at a time.

        Returns
        -------
        check : Bunch
            ``attributions`` of shape (n_samples, n_features), ``attribution_sizes`` of
            shape (n_features,), their mean absolute values, ``importances`` of shape
            (n_features, n_repeats), the growth of log-loss or mean squared error, with
            ``importances_mean`` and ``importances_std`` of shape (n_features,),
            ``rank_correlation`` of sizes and mean importances, and
            ``rank_correlations``, a dict with the same for other readings of one token
            per feature. NaN stands for what is constant.

        Notes
        -----
        Costs n_features times `n_repeats` predictions of all rows.
        """
        return check_attributions(
            self,
            X,
            y,
            target=target,
            baseline=baseline,
            n_steps=n_steps,
            n_repeats=n_repeats,
            random_state=random_state,
            n_jobs=n_jobs,
        )
