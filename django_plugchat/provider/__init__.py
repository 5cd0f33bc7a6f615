"""What do PlugChat and the engine behind it say? Types, statuses, error texts and calls, as data."""
