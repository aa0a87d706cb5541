"""From a parsed request to published bytes: store first, then one build per key in a worker."""
