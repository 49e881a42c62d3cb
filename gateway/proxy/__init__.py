"""The straight line of a request: begin, admit, dispatch, relay, settle. ``handler`` reads like that list."""
