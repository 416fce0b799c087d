"""Backup archives (backup contract §2-§6): written fast, read carefully. No policy.

Everything here blocks and belongs into a thread, see `work.in_thread`.
"""
