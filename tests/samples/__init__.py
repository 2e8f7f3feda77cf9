"""Small labelled sets, written for these tests: memories, questions, and which answers which."""
