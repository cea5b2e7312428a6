//! Tests of the log as its users and attackers meet it: through its API and by editing its files.

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod child;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod fsck;
#[cfg(test)]
mod handover;
#[cfg(test)]
mod inputs;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod large;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod pruning;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod s3;
#[cfg(test)]
mod sequences;
#[cfg(test)]
mod two_writers;
#[cfg(test)]
mod witnesses;
