"""A believable mix of tenants, models, streams and failures: it keeps the dashboards alive and shows what happens."""

from gateway.traffic.cast import DEMO, alone
from gateway.traffic.playing import Address
from gateway.traffic.running import TrafficSettings, run_traffic

__all__ = ["DEMO", "Address", "TrafficSettings", "alone", "run_traffic"]
