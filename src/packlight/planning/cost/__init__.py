"""Predicted latency, memory and energy on a device."""
