//! The image that `make image` wrote, as a registry would store it: its platforms, configuration and files, and a second build elsewhere.
//! `make test-image` runs these tests; `cargo test` leaves them out.

#[cfg(test)]
mod archive;
#[cfg(test)]
mod content;
#[cfg(test)]
mod second_build;
