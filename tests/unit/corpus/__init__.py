"""Manifests in every style that the world has, each with what the store must make of it (add-on contract §1.2-§1.7)."""
