"""The Connections room: the server tells its owner what happened, and the owner answers there.

A local room, written by the server alone. No peer can join it, and nothing of it leaves.
"""
