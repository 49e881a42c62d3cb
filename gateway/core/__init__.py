"""Pure decisions: no await, no clock, no randomness, no socket, no logging (an import contract enforces it).

Time comes in as a :data:`gateway.core.clock.Clock`; whatever happens outside is told by the caller.
"""
