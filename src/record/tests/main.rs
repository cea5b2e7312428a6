//! Tests of the log as its users and attackers meet it: through its API and by editing its files.

mod attacks;
mod fixture;
mod fsck;
mod pruning;
mod sequences;
