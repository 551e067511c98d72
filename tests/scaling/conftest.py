"""One cluster of two worker processes for all tests that need some."""

import logging
import warnings

import pytest


@pytest.fixture(scope="session")
def cluster_client(tmp_path_factory):
    distributed = pytest.importorskip("distributed")
    folder = tmp_path_factory.mktemp("dask")
    with warnings.catch_warnings():
        # Of its own event loop and ports, which are none of the tests' business.
        warnings.simplefilter("ignore")
        cluster = distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            memory_limit="2GiB",
            local_directory=str(folder),
            silence_logs=logging.CRITICAL,
        )
        client = distributed.Client(cluster)
    yield client
    client.close()
    cluster.close()
