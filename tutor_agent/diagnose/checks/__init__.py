"""Checks that fault cards name: small functions over observations, registered by `@check`."""

from tutor_agent.diagnose.checks import curves, numerics, texts
from tutor_agent.diagnose.checks.registry import Shown, check, find_check

__all__ = ["Shown", "check", "curves", "find_check", "numerics", "texts"]
