"""What an author should know of an add-on or a repository before others install it: errors and advice, with places.

It judges with the same schemas that the store reads manifests with, and looks at what the store silently leaves out.
"""

from .finding import Finding, Report, Severity
from .folder import check_folder

__all__ = ["Finding", "Report", "Severity", "check_folder"]
