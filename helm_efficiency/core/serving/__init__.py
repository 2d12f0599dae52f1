"""A server under load: time and cost of a request when many requests share the accelerators.

`steps` turns runtime coefficients into the time of one forward pass, `lengths` holds the requests, `server` the limits
of the server, `steady_state` solves closed and open loops, `simulation` simulates the same server event by event as a
check, and `served` holds the result and divides the accelerators' time among the requests.
"""
