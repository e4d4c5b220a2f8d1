"""The six claims of the article that detrbench answers, each held against saved evidence.

`evidence` reads reports, `unit` looks at the built network, `judging` rules, `laying` lays it out.
Nothing is measured here, and no ruling goes beyond what the evidence shows.
"""
