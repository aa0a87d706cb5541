"""Module versions from elsewhere and for elsewhere: imported, bundled, and believed only after every check."""
