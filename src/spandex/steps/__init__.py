"""The steps of the pipeline, named as what they make.

A step takes the parameters and files, reads what the step before wrote and writes its own.
"""
