//! The JSON Schema and the README's table of a filter's configuration, out of its raw structs.
