"""What can be run from a shell? Arguments, output and exit codes."""
