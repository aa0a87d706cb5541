"""The command line: one file a verb. What takes long to import is imported when a verb runs."""
