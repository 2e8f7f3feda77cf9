"""nimactl: talks to the daemon; imports neither numpy nor numba (L5: errors, model, legacy/)."""
