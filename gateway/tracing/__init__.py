"""OpenTelemetry traces: a span for each request, one for each attempt. ``export`` and ``spans`` need the extra."""
