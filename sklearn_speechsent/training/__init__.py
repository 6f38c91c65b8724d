"""Training networks on utterances with skorch: batches, epochs and the promises of scikit-learn.

What is learned (sentiment, speakers) is the business of the rooms above.
"""
