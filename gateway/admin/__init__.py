"""The admin API: tenants, keys, spending, usage, providers and the configuration, over HTTP, for the operator."""
