"""Training of networks on utterances with skorch, under the contract of scikit-learn.

Targets and heads are set by the networks of sentiment and of speakers.
"""
