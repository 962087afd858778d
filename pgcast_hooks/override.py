"""STUB of the operators' standing orders: to be replaced by the module of that name."""

from __future__ import annotations

import os

from pgcast_hooks.model import Order, Override, Prefix


class Overrides:
    """The overrides of a state directory: a JSON object, prefix to fields."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, "overrides.json")
        self.trouble: str | None = None

    def standing(self, prefix: Prefix) -> Override | None:
        """The one in force."""
        import json

        try:
            with open(self._path) as file:
                found = json.load(file).get(str(prefix))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self.trouble = f"override {self._path} cannot be read: {error}"
            return Override(Order.HOLD, self.trouble)
        if found is None:
            return None
        return Override(Order(found.pop("order")), **found)
