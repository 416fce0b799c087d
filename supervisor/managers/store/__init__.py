"""The store: repositories of add-ons, what they offer, and the texts and pictures that come with it (contract §2).

Repositories are foreign: nothing of theirs is run here, and no link in them leads out of their folder.
"""

from supervisor.model.assets import AssetKind

from .addon import StoreAddon
from .manager import StoreManager
from .repository import STORE_SCHEMA, Repository

__all__ = ["STORE_SCHEMA", "AssetKind", "Repository", "StoreAddon", "StoreManager"]
