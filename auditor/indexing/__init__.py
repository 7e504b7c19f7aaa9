"""The embeddings of a training set, made once, for the audits of many checkpoints."""
