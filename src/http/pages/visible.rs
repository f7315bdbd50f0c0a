//! Text of others in a page: escaped, with control and bidirectional characters made visible.
