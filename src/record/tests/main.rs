//! Tests of the log as its users and attackers meet it: through its API and by editing its files.

mod attacks;
mod child;
mod faults;
mod fixture;
mod fsck;
mod kill;
mod large;
mod memory;
mod pruning;
mod s3;
mod sequences;
mod two_writers;
