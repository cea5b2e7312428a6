//! What went wrong at one step and cannot be seen in the world afterwards.

/// A bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults(u8);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A grant was made after its own deadline (invariant 1).
    GrantedLate,
    /// Work that began after a word against the request, its end or its deletion made a grant (invariant 8).
    GrantedAgainst,
    /// An end that was recorded was written over (invariant 8).
    EndChanged,
    /// A grant was made after the end of its request was recorded (invariant 8).
    GrantedAfterEnd,
    /// What somebody else made was recorded as the grant (invariant 15).
    Adopted,
    /// A binding that still grants was taken for gone (invariant 16).
    TakenForGone,
}

impl Faults {
    /// Notes one.
    pub const fn note(&mut self, fault: Fault) {
        self.0 |= 1 << fault as u8;
    }

    /// True if it was noted.
    #[must_use]
    pub const fn has(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u8) != 0
    }
}
