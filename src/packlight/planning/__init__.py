"""Profile + Device + Budget -> Plan: what is feasible, by which route, before training."""
