"""Providers: one pool and one set of credentials each, and the streams that come from them."""
