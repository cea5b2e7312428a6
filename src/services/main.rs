//! The program of the services: subcommands `notify` and `record`.

fn main() {}
