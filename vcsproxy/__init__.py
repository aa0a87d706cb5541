"""A Go module proxy that builds modules straight from Git."""

__version__ = "0.1.0"
