"""The six claims of the article that detrbench answers, each held against saved evidence.

`evidence` reads reports, `unit` looks at the built network, `rules` rules, `tables` lays it out;
`measuring` is the suite that runs what makes those reports. No ruling goes beyond what the evidence
shows.
"""
