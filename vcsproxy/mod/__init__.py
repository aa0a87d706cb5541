"""Go's module rules as pure functions over values: no clock, file, socket, environment or log.

Source: golang.org/x/mod and the pure parts of cmd/go, as of Go 1.27.3, under the same names.
"""
