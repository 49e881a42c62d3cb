"""An AI gateway: one process between chat backends and LLM providers.

A request is one straight line of phases (``gateway.proxy.handler``); what is decided on the way is decided by
pure code (``gateway.core``, ``gateway.dialects``); what touches aiohttp's internals is one module (``gateway.splice``).
*Downstream* is the client, *upstream* the provider, everywhere.
"""

__version__ = "0.3.0"
