//! Times, durations, sizes and numbers as the pages show them.
