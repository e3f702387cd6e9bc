"""The command line: one file a verb, each reading arguments, calling one library function and printing."""
