//! The `fanwire` command.

fn main() {}
