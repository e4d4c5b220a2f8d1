"""The ShuffleNetV2 paper's four guidelines, and its experiments on them, on the reader's device.

`paper` holds its tables, `networks` the networks they are of, `measuring` lets them be timed,
`rules` says what that shows of each guideline, `tables` lays it out.
"""
