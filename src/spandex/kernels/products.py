"""Matrix products of a synapse on time-major signals (batch, steps, neurons), by the library that is fastest for them.

float32 on the CPU goes through oneDNN as a convolution of width one whose channels lie last, which is a matrix product:
on processors other than Intel's MKL, behind ``torch.mm``, leaves half of the vector units idle.
"""

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows


def currents(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Synaptic currents (batch, steps, out) of x (batch, steps, in) and weight (out, in)."""
    if not _by_convolution(x):
        return x @ weight.T
    return _signal(F.conv2d(_image(x), weight[:, :, None, None], dilation=_dilation()), x)


def gradients(
    grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, needs: tuple[bool, bool], dtype: torch.dtype
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Gradients for x (batch, steps, in) and for the weight (out, in) from that of the currents (batch, steps, out).

    Args:
        needs: which of the two are wanted; the other is None.
        dtype: the factors are rounded to it; the sums are float32 at least.
    """
    if dtype == torch.bfloat16:
        rounded = grad.flatten(0, 1).to(dtype)
        for_x = (rounded @ weight.to(dtype)).to(x.dtype).view_as(x) if needs[0] else None
        for_weight = (rounded.T @ x.flatten(0, 1).to(dtype)).to(x.dtype) if needs[1] else None
        return for_x, for_weight
    return currents(grad, weight.T) if needs[0] else None, _weight_gradient(grad, x) if needs[1] else None


def _weight_gradient(grad: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    if not _by_convolution(x):
        grad, x = grad.flatten(0, 1), x.flatten(0, 1)
        # cuBLAS takes twice the time for fewer columns than rows: seen on an H200 with 512 x 240064 by 240064 x 257
        return grad.T @ x if grad.shape[1] <= x.shape[1] else (x.T @ grad).T
    weight = x.new_empty(1).expand(grad.shape[2], x.shape[2], 1, 1)  # only its shape counts
    _, gradient, _ = torch.ops.aten.convolution_backward(
        _image(grad), _image(x), weight, None, (1, 1), (0, 0), _dilation(), False, (0, 0), 1, (False, True, False)
    )
    return gradient[:, :, 0, 0]


def _by_convolution(x: torch.Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32 and torch.backends.mkldnn.is_available()


def _dilation() -> tuple[int, int]:
    """Nothing to a kernel of width one, but without it torch does not take oneDNN on one thread."""
    return (2, 2) if torch.get_num_threads() == 1 else (1, 1)


def _image(x: torch.Tensor) -> torch.Tensor:
    """(batch, steps, neurons) as one image (1, neurons, 1, batch * steps)."""
    return x.reshape(1, 1, -1, x.shape[2]).permute(0, 3, 1, 2)


def _signal(image: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    # Autograd lets nobody overwrite a view that was made inside a function; ``data`` is none.
    return image.permute(0, 2, 3, 1).reshape(*like.shape[:2], -1).data
