"""What pods run, and what they share with the operator and the command line: architectures, search, zoo, predictor.

torch is imported only where a network is built or trained.
"""
