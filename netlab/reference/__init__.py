"""What is made from the commands themselves: completion scripts, man pages, blocks of the README.

All of it starts at `tree`, which reads the Click commands once; ``python -m netlab.reference`` writes the files.
"""
