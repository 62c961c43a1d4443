"""The pages that people open: drift, evidence, exploration, decisions.

Operators and the plugin's pages import from here; nothing below may.
"""
