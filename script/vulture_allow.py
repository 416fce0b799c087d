"""Names that another library's signature demands and nothing of ours reads. For vulture; never run."""

proxies  # an argument of requests' adapters
datefmt  # an argument of logging's formatters
