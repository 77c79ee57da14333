"""What the installed torch has: on an older one, the tests of what it lacks are skipped by name."""

from __future__ import annotations

import pytest
import torch

TORCH = tuple(int(part) for part in torch.__version__.split(".")[:2])

needs_deterministic_inductor = pytest.mark.skipif(TORCH < (2, 10), reason="inductor has no deterministic mode")
needs_traced_generators = pytest.mark.skipif(TORCH < (2, 7), reason="dynamo raises on every generator that it meets")
needs_fsdp_reduction = pytest.mark.skipif(TORCH < (2, 13), reason="FSDP2 cannot be given a reduction, or was not tried")
