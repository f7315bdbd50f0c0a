//! Words of the pages: for every reason, outcome, act and state of the API.
