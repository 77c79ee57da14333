"""The names of torch's that no documentation promises and that have no substitute, by the part that is built on them.

A torch without one of them is told of when that part is imported, not by an AttributeError in the middle of a run. What
is asked for by `getattr` has a substitute; what an import statement fetches, its ImportError names.
`tests/test_torch_names.py` compares with the code.
"""

from __future__ import annotations

import pkgutil
import sys

from ..errors import DeterministicError

NEEDED = {
    "sources": (
        "_GLOBAL_DEVICE_CONTEXT _C._get_cublas_allow_tf32 _C._get_cudnn_allow_tf32 _C._get_deterministic_algorithms "
        "_C._get_deterministic_algorithms_warn_only _C._get_deterministic_fill_uninitialized_memory "
        "_C._get_float32_matmul_precision _C._get_privateuse1_backend_name _C._has_mps _C._set_cudnn_allow_tf32 "
        "_C._set_deterministic_algorithms _C._set_deterministic_fill_uninitialized_memory "
        "_C._set_float32_matmul_precision mps._is_in_bad_fork xpu._is_compiled "
        "_C._get_cudnn_deterministic _C._set_cudnn_deterministic _C._get_cudnn_benchmark _C._set_cudnn_benchmark "
        "_C._current_graph_task_id backends.opt_einsum._get_enabled cuda._initialization_lock cuda._is_compiled "
        "cuda._is_in_bad_fork cuda._lazy_seed_tracker cuda._queued_calls"
    ),
    "checkpoint": (
        "Tensor._indices Tensor._is_zerotensor Tensor._values UntypedStorage._cdata "
        "_make_per_channel_quantized_tensor _make_per_tensor_quantized_tensor"
    ),
    "distributed": "autograd.Variable._execution_engine",
    "distributed.fsdp": (
        "distributed.fsdp.FSDPModule._get_fsdp_state distributed.fsdp.FSDPModule.set_all_reduce_hook "
        "distributed.fsdp.FSDPModule.set_custom_reduce_scatter "
        "distributed.fsdp._fully_shard._fsdp_param.FSDPParam.unsharded_param "
        # A property since there are several groups in a state, which is what the code reads.
        "distributed.fsdp._fully_shard._fsdp_state.FSDPState._fsdp_param_group "
        "distributed.fsdp._fully_shard._fsdp_state.FSDPState._root_post_backward_final_callback"
    ),
    "trace": (
        "_C._functorch.get_unwrapped _C._functorch.is_batchedtensor _C._functorch.is_functorch_wrapped_tensor "
        "_C._functorch.is_gradtrackingtensor "
        "_C._DisableFuncTorch _C._TorchDispatchModeKey.FAKE _C._TorchDispatchModeKey.FUNCTIONAL _C._autograd "
        "_C._disabled_torch_dispatch_impl _C._dispatch_keys _C._get_dispatch_mode _C._len_torch_dispatch_stack "
        "_C._len_torch_function_stack _C._pop_torch_dispatch_stack _C._push_on_torch_dispatch_stack _guards._TLS "
        "_is_functional_tensor _ops autograd.graph._engine_run_backward nn.Module._call_impl "
        "nn.modules.module._global_forward_hooks nn.modules.module._global_forward_hooks_always_called "
        "nn.modules.module._global_forward_pre_hooks utils._python_dispatch._get_current_dispatch_mode_stack "
        "Generator._cdata Tensor._is_zerotensor Tensor._version UntypedStorage._cdata"
    ),
}


class MissingNameError(DeterministicError, ImportError):
    """The installed torch lacks a name that a part of this library cannot do without."""


def require(part: str) -> None:
    """Raise a MissingNameError if the installed torch lacks one of the names of this part."""
    missing = [name for name in NEEDED[part].split() if not _is_there(f"torch.{name}")]
    if missing:
        value = f"found: torch {sys.modules['torch'].__version__} without torch.{', torch.'.join(missing)}"
        remedy = "Install a torch that the README names, or a newer version of this library."
        raise MissingNameError(f"deterministic.{part} does not fit the installed torch", (value,), remedy)


def _is_there(path: str) -> bool:
    try:
        pkgutil.resolve_name(path)
    except (AttributeError, ImportError):
        return False
    return True
