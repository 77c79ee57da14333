"""What a Checkpoint says of itself: through logging, or on stderr where nobody has set logging up."""

from __future__ import annotations

import logging
import sys

from ..ground import launch, repetition
from ..ground.ranks import the_ranks

_logger = logging.getLogger("deterministic.checkpoint")


def tell(text: str, *values: object) -> None:
    """Log a line, on rank 0 alone; without any handler it is shown, as logging shows a warning then.

    Nothing is attached to the logger: whoever sets logging up later gets each line once.
    """
    if the_ranks().rank:
        return
    level = _logger.level or logging.getLogger("deterministic").level  # one that was set, and not the root's
    if _logger.hasHandlers() or max(level, _logger.manager.disable + 1) > logging.INFO:
        _logger.info(text, *values)
    elif not (launch.is_quiet or repetition.instead() or getattr(sys.stderr, "closed", True)):
        record = _logger.makeRecord(_logger.name, logging.INFO, "", 0, f"deterministic: {text}", values, None)
        logging.StreamHandler().handle(record)
