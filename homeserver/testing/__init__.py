"""The public test harness: whole servers in one process, on virtual time, driven by a seed.

Begin with `world.World` and `simulated.simulated`; `docs/harness.md` shows how. `processes` and
`client` drive real servers instead.
"""
