"""Bundle skills/ and knowledge/ into a built wheel; an editable install reads them in place."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the two data folders to a standard wheel only.

    A static `force-include` would also copy them into site-packages for `pip install -e .`,
    where they would go stale.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Map each folder to its place inside the package."""
        if version == "standard":
            for folder in ("skills", "knowledge"):
                build_data["force_include"][folder] = f"tutor_agent/_bundled/{folder}"
