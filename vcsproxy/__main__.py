"""`python -m vcsproxy` is `vcsproxy`."""

from vcsproxy.cli.main import main

main(prog_name="vcsproxy")
