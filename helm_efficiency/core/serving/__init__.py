"""A server under load: what a request takes and costs when many share the accelerators.

`steps` turns runtime coefficients into the time of one forward pass, `lengths` holds the requests, `server` the limits
of the server, `steady_state` solves closed and open loops, `simulation` plays the same server event by event as a
check, `served` holds the result and shares the accelerators' time out to the requests.
"""
