//! The two writes of a grant: its binding, and its record (`src/operator/controller/requests/apply.rs`).

use crate::{
    call::Call,
    faults::Fault,
    guards::Guard,
    replica::Known,
    request::{Case, Report, Rest, Work, own_name},
    rules::{Heard, Seen},
    setting::Setting,
    world::{Binding, BindingUid, Late, Name, State, Subjects, Time, Who, World},
};

impl World {
    /// `create` in `src/operator/controller/requests/apply.rs`: the last checks, and the one write that widens access.
    pub(crate) fn create(&mut self, setting: &Setting, who: Who, case: Case, heard: Heard, deadline: Time, call: Call) -> Rest {
        let (request, now) = (case.request, self.now);
        if setting.has(Guard::DeadlineExceeded) && setting.clock(who, now) >= i16::from(deadline) {
            return Rest::At(setting.when(who, deadline).max(now));
        }
        if setting.has(Guard::AskLeaseAgain) && !self.leads(who) {
            return Rest::Done;
        }
        let name = if setting.has(Guard::NameFromUid) {
            own_name(&request)
        } else {
            Name::Random(u8::try_from(self.bindings.len()).unwrap_or(u8::MAX))
        };
        self.replica_mut(who).expected = Some(name);
        let binding = Binding {
            uid: BindingUid(0),
            name,
            request: request.uid,
            deadline,
            labelled: true,
            finalizer: None,
            subjects: Subjects::Requester,
            deleting: false,
            there: true,
            made: now,
            ours: true,
        };
        let late = Late { binding, known_no: case.known_no };
        let made = match call {
            Call::Done | Call::Unanswered => self.make(setting, late, true),
            Call::Delayed => {
                self.late = Some(late);
                false
            }
            Call::Refused | Call::Lost => false,
        };
        let answered = matches!(call, Call::Done | Call::Refused);
        if !(call == Call::Done && made) && (answered || setting.has(Guard::ExpectOnlyMade)) {
            self.replica_mut(who).expected = None;
        }
        match call {
            Call::Done if made => {
                let uid = self.binding(name).map(|made| made.uid);
                if let Some(uid) = uid.filter(|_| setting.has(Guard::NoteAtCreation)) {
                    self.replica_mut(who).note(Known { uid, name, deadline, unverified: false, rests: false });
                }
                Rest::Work(Work::Reporting(case, Report { state: State::Active, expires: Some(deadline), binding: uid }))
            }
            Call::Done => Rest::Work(Work::Comparing(case, heard)),
            _ => Rest::Again,
        }
    }

    /// The API server creates a binding, now or late.
    pub fn make(&mut self, setting: &Setting, late: Late, in_time: bool) -> bool {
        let Late { binding, known_no } = late;
        if !self.create_binding(binding) {
            return false;
        }
        let Some(request) = self.request_of(binding.request).copied() else { return true };
        let due = self.deadline_of(setting, &request);
        if known_no {
            self.faults.note(Fault::GrantedAgainst);
        }
        if in_time && due.is_none_or(|due| self.now >= due + setting.behind()) {
            self.faults.note(Fault::GrantedLate);
        }
        // A call that outlives the Lease, or a deleted Lease, may let the next holder be faster.
        if in_time && request.ended.is_some() && !self.lease_was_deleted(setting) {
            self.faults.note(Fault::GrantedAfterEnd);
        }
        true
    }

    /// The name exists: the rules evaluate the existing binding.
    pub(crate) fn compare(&self, setting: &Setting, who: Who, case: Case, heard: Heard) -> Rest {
        match self.read(case) {
            Seen::Present(found) => self.apply(setting, who, case, heard, Seen::Present(found)),
            Seen::Absent | Seen::Unread => Rest::Again,
        }
    }

    /// `report` and `write_status` in `src/operator/controller/requests/apply.rs`.
    pub(crate) fn report(&mut self, setting: &Setting, who: Who, case: Case, report: Report, call: Call) -> Rest {
        let now = self.now;
        if !self.webhook && !setting.has(Guard::WebhookSkipsOperator) {
            return Rest::NextTick;
        }
        if call == Call::Refused {
            return Rest::Again;
        }
        let adopted = report.binding.is_some_and(|uid| self.bindings.iter().any(|binding| binding.uid == uid && !binding.ours));
        let Some(request) = self.requests.iter_mut().find(|request| request.gone.is_none()) else { return Rest::Done };
        let same = request.version == case.request.version || !setting.has(Guard::StatusVersion);
        if request.uid != case.request.uid || !same {
            return Rest::Again;
        }
        let before = request.state;
        request.version += 1;
        request.state = report.state;
        request.expires = report.expires;
        request.binding = report.binding;
        request.ended = request.ended.or_else(|| report.state.is_terminal().then_some(now));
        if adopted {
            self.faults.note(Fault::Adopted);
        }
        if before.is_terminal() && before != report.state {
            self.faults.note(Fault::EndChanged);
        }
        // A completed request leaves the watch of active and pending requests; a replica's own "Active" is no event that requeues it.
        if report.state.is_terminal() || !setting.has(Guard::ReadRequest) {
            self.stir();
        }
        match (call, report.expires) {
            (Call::Done, Some(deadline)) if !report.state.is_terminal() => Rest::At(setting.when(who, deadline) + 1),
            (Call::Done, _) => Rest::Done,
            _ => Rest::Again,
        }
    }
}
