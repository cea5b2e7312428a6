//! Violations at one step that cannot be observed in the state afterwards.

/// A bit per violation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults(u8);

/// One violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A grant was made after its own deadline (invariant 1).
    GrantedLate,
    /// Work that began after a decision against the request, its end or its deletion made a grant (invariant 8).
    GrantedAgainst,
    /// A recorded end was overwritten (invariant 8).
    EndChanged,
    /// A grant was made after the end of its request was recorded (invariant 8).
    GrantedAfterEnd,
    /// A binding of another author was recorded as the grant (invariant 15).
    Adopted,
    /// A binding that still grants was treated as deleted (invariant 16).
    TakenForGone,
}

impl Faults {
    /// Records one.
    pub const fn note(&mut self, fault: Fault) {
        self.0 |= 1 << fault as u8;
    }

    /// Returns true if it was recorded.
    #[must_use]
    pub const fn has(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u8) != 0
    }
}
