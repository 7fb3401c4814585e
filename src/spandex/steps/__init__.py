"""The steps of the pipeline, one module for each rules file of the workflow.

A step takes the parameters and files, reads what the step before wrote and writes its own.
"""
