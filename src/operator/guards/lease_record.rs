//! The record of the guards on the Lease.

use super::Guards;
use crate::election::LeaseRecord;
use domain::guards::ledger::Ledger;

impl LeaseRecord for Guards {
    const ANNOTATION: &'static str = api::names::GUARDS;

    /// A record that cannot be parsed counts as a gap of unknown length.
    fn load(&self, stored: Option<&str>) {
        let ledger = Ledger::read(stored).unwrap_or_else(|| {
            tracing::warn!(
                annotation = Self::ANNOTATION,
                "the record of the guards on the Lease is missing or cannot be read: nothing counts as verified, and eligibilities and policies must be written again"
            );
            Ledger::lost()
        });
        self.state.lock().take_over(ledger);
        self.show();
        self.wanted.notify_one();
    }

    fn save(&self) -> Option<String> {
        self.state.lock().ledger.as_ref().map(Ledger::write)
    }

    /// Returns the state of this replica as the leader, or else the record that was last read. On the first Lease of an installation it
    /// records that nothing has been granted yet.
    fn for_new_lease(&self, last_read: Option<&str>) -> String {
        let known = self.state.lock().ledger.clone();
        known.unwrap_or_else(|| last_read.map_or_else(Ledger::first, |read| Ledger::read(Some(read)).unwrap_or_else(Ledger::lost))).write()
    }

    async fn changed(&self) {
        self.unsaved.notified().await;
    }

    fn held_by_another(&self) {
        self.state.lock().follow();
        self.show();
    }

    fn release(&self) {
        self.state.lock().release();
        self.show();
    }
}
