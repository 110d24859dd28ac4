"""Common to the tests of rendering."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_torch_thread():
    """The reference's many small steps gain nothing from more threads, and lose much to waiting on a busy machine.

    Again for each test, since decoding a scene sets the number of OpenMP threads, which torch shares.
    """
    torch.set_num_threads(1)
