"""From what managers know to what answers show."""
