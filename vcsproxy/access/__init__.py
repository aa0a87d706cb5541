"""PURE. Who may use what: URL prefixes of credentials, and the formats in which credentials are kept."""
