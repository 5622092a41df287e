"""The command: one file per verb; each parses arguments, calls the library and hands the result to a view."""
