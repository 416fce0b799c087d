"""What answers look like on the wire: one class for each model of the API contract §3."""
