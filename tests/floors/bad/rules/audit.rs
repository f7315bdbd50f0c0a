//! Known to its neighbour.
