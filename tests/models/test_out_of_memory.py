"""Out-of-memory errors change the size of the parts, not the result."""

import pytest
import torch

from ariel_lib.models.out_of_memory import backward_in_parts, forward_in_parts

X, Y = torch.randn(2, 11, 3, generator=torch.Generator().manual_seed(0)).double()


class Small:
    """A mean-square loss on a device with memory for `capacity` planets."""

    def __init__(self, capacity):
        self.network, self.capacity, self.sizes = torch.nn.Linear(3, 3).double(), capacity, []
        torch.nn.init.ones_(self.network.weight)

    def __call__(self, part):
        self.sizes.append(len(X[part]))
        if len(X[part]) > self.capacity:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return (self.network(X[part]) - Y[part]).square().mean()

    def gradient(self, most):
        self.network.zero_grad()
        loss, most = backward_in_parts(self.network, self, len(X), most)
        return loss, self.network.weight.grad.clone(), most


def test_gradients_of_parts_sum_to_that_of_the_batch():
    torch.manual_seed(0)
    large = Small(100)
    loss, gradient, most = large.gradient(32)
    assert most == 32 and large.sizes == [11]
    for capacity in (1, 2, 5, 6):
        small = Small(capacity)
        small.network.load_state_dict(large.network.state_dict())
        found = small.gradient(32)
        assert found[0] == pytest.approx(loss)
        torch.testing.assert_close(found[1], gradient)
        assert found[2] <= capacity
        assert small.gradient(found[2])[2] == found[2]  # the size that fitted is kept


def test_predictions_in_parts_equal_those_of_the_batch():
    small = Small(3)
    parts = forward_in_parts(lambda part: (small(part), X[part])[1], len(X), 16)
    assert torch.equal(torch.cat(parts), X)


def test_a_single_item_that_does_not_fit_raises_the_error():
    with pytest.raises(torch.cuda.OutOfMemoryError):
        Small(0).gradient(4)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        forward_in_parts(Small(0), 4, 4)
