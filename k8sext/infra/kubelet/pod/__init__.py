"""One pod: what it should be, what is done about it, what is told of it."""
