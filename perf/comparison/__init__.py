"""Fanwire beside other systems: what perf/compare is made of.

peers    installs, starts and stops the systems
works    what is measured, and what is to be reached
runs     the load generator's runs, interleaved
report   the tables
plots    the pictures
"""
