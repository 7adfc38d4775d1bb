"""The memory of a GPU: knowing when it is exhausted, and giving back what is unused."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# What is in the messages of errors that are not torch.OutOfMemoryError: those of MPS, of CUDA
# itself, and of the libraries that compute on it.
EXHAUSTED = (
    *("out of memory", "Invalid buffer size"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"),
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of torch means that the GPU has too little memory."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in EXHAUSTED)


def free_memory(device: torch.device) -> None:
    """Give back the memory that torch keeps for later; call it outside of any `except`.

    The traceback of an error holds the tensors of the computation that failed.
    """
    import torch

    if device.type == "cuda" and torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
