"""Answers errors outside of FastAPI: worded by the same table, counted and logged."""

import logging

from starlette.responses import Response

from app.api.problems import PROBLEMS, internal_error, make_problem_of
from app.domain.errors import InputInvalid, RelayError, RequestRejected, Unauthenticated
from app.relay.measurements import Measurements

logger = logging.getLogger(__name__)


def error_response(measurements: Measurements, subject: str, error: BaseException) -> Response:
    """Make the response to an error.

    Args:
        measurements: counts it.
        subject: what was asked for, for the log.
        error: of ours, or a fault, which is logged and never shown.
    """
    if not isinstance(error, RelayError):
        logger.error("%s failed", subject, exc_info=error)
        return internal_error()
    _, code = PROBLEMS[type(error)]
    measurements.rejections.labels(code).inc()
    if isinstance(error, RequestRejected):
        logger.info("rejected %s: %s (%s)", subject, type(error).__name__, find_reason(error))
    return make_problem_of(error)


def find_reason(error: RequestRejected) -> str:
    """Give what exactly was wrong, for the log only."""
    if isinstance(error, Unauthenticated):
        return error.reason
    if isinstance(error, InputInvalid):
        return "; ".join(f"{problem.pointer} {problem.detail}" for problem in error.errors[:5])
    return str(error)
