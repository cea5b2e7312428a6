//! Work on the request (`src/operator/controller/requests/`), call by call: gather, decide, apply, report; and the work of a standby.

use crate::{
    call::{Call, Kind},
    guards::Guard,
    revoker::{Ending, Outcome},
    rules::{self, Heard, Seen, Verdict},
    setting::Setting,
    world::{Binding, BindingUid, Decision, Name, Request, State, Time, Who, World},
};

/// The context of a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    /// The request as it was read.
    pub request: Request,
    /// The replica held the Lease when it began.
    pub leads: bool,
    /// The request had lost its right already when the work began. Read by properties only.
    pub known_no: bool,
}

/// The continuation after an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Then {
    /// The next stray binding, then the request itself.
    Strays(Case),
    /// The report.
    Report(Case, State),
    /// Nothing: the binding of a request that stays pending, or one that a standby removes.
    Rest,
    /// The next binding of a deleted request, then its decisions.
    Orphans,
}

/// A piece of work between two calls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    /// List the decisions.
    Listing(Case),
    /// GET the binding.
    Reading(Case, Heard),
    /// Create it.
    Creating(Case, Heard, Time),
    /// GET it, since the name exists.
    Comparing(Case, Heard),
    /// End a binding.
    Ending(Ending, Then),
    /// Write the status.
    Reporting(Case, Report),
    /// List the decisions on a deleted request.
    Orphans,
    /// GET the request again before they are deleted.
    LookingAgain(Vec<Decision>),
    /// Delete them.
    Deleting(Vec<Decision>),
}

/// The content of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// State.
    pub state: State,
    /// `expiresAt`.
    pub expires: Option<Time>,
    /// `bindingRef.uid`.
    pub binding: Option<BindingUid>,
}

/// The result of a piece of work for the queue (`Next` in `src/operator/queue.rs`).
pub(crate) enum Rest {
    /// There is more work.
    Work(Work),
    /// Nothing until the next event.
    Done,
    /// A conflict that is no failure: requeue at once.
    Again,
    /// It cannot continue now.
    NextTick,
    /// Until this time.
    At(Time),
}

/// The name of a request's binding.
#[must_use]
pub const fn own_name(request: &Request) -> Name {
    Name::Of(request.uid)
}

impl World {
    /// Returns true when the worker on requests of a replica has work.
    #[must_use]
    pub fn request_is_due(&self, who: Who) -> bool {
        let replica = self.replica(who);
        replica.work.is_some() || (replica.phase == crate::replica::Phase::Running && replica.look.is_some_and(|at| at <= self.now))
    }

    /// Returns the kind of its next call.
    #[must_use]
    pub fn next_call(&self, who: Who) -> Kind {
        let replica = self.replica(who);
        match &replica.work {
            None if !self.leads(who) && replica.index.is_empty() => Kind::Local,
            None | Some(Work::Listing(_) | Work::Reading(..) | Work::Comparing(..) | Work::Orphans | Work::LookingAgain(_)) => Kind::Read,
            Some(Work::Creating(..)) => Kind::Create,
            Some(Work::Ending(ending, _)) => ending.kind(),
            Some(Work::Reporting(..) | Work::Deleting(_)) => Kind::Write,
        }
    }

    /// Makes that call (`work` in `src/operator/controller/requests/mod.rs`).
    pub fn work_on_request(&mut self, setting: &Setting, who: Who, call: Call) {
        let rest = match self.replica_mut(who).work.take() {
            None => {
                self.replica_mut(who).look = None;
                self.begin(setting, who, call)
            }
            Some(Work::Listing(case)) if call == Call::Done => self.list(setting, who, case),
            Some(Work::Reading(case, heard)) if call == Call::Done => {
                let seen = self.read(case);
                self.apply(setting, who, case, heard, seen)
            }
            Some(Work::Creating(case, heard, deadline)) => self.create(setting, who, case, heard, deadline, call),
            Some(Work::Comparing(case, heard)) if call == Call::Done => self.compare(setting, who, case, heard),
            Some(Work::Ending(ending, then)) => self.end(setting, who, ending, then, call),
            Some(Work::Reporting(case, report)) => self.report(setting, who, case, report, call),
            Some(Work::Orphans) if call == Call::Done => self.orphans(setting),
            Some(Work::LookingAgain(decisions)) if call == Call::Done => match self.request() {
                None => Rest::Work(Work::Deleting(decisions)),
                Some(_) => Rest::Again,
            },
            Some(Work::Deleting(decisions)) => self.delete_decisions(&decisions, call),
            Some(_) => Rest::Again,
        };
        let now = self.now;
        let replica = self.replica_mut(who);
        match rest {
            Rest::Work(work) => replica.work = Some(work),
            Rest::Done => {}
            Rest::Again => replica.look_at(now),
            Rest::NextTick => replica.look_at(now + 1),
            Rest::At(at) => replica.look_at(at),
        }
    }

    /// The first step of `evaluate_stored` and `reconcile_as_standby`: the request is read.
    fn begin(&mut self, setting: &Setting, who: Who, call: Call) -> Rest {
        let leads = self.leads(who);
        if !leads && (!setting.has(Guard::StandbyRevokes) || self.replica(who).index.is_empty()) {
            return Rest::Done;
        }
        if call != Call::Done {
            return Rest::Again;
        }
        let stored = self.request().copied();
        let read = match &self.replica(who).cached {
            Some(cached) if !setting.has(Guard::ReadRequest) => cached.request,
            _ => stored,
        };
        match read {
            None => self.next_orphan(setting, who),
            Some(request) => {
                let known_no = self.speaks_against(&request).is_some();
                self.next_stray(setting, who, Case { request, leads, known_no })
            }
        }
    }

    /// `remove_strays`: bindings that name this request and are not its own, or whose request is completed.
    fn next_stray(&self, setting: &Setting, who: Who, case: Case) -> Rest {
        let ended = case.request.state.is_terminal();
        let own = own_name(&case.request);
        // A name that does not identify its request is judged by the owner reference.
        let is_own = |uid: BindingUid, name: Name| match name {
            Name::Of(_) => name == own,
            Name::Random(_) => self.request_of_binding(uid) == Some(case.request.uid),
        };
        let stray = self.known(who).into_iter().find(|(uid, name)| ended || !is_own(*uid, *name));
        match stray.filter(|_| setting.has(Guard::StraysGo)) {
            Some((uid, name)) => Rest::Work(Work::Ending(Ending::of(uid, name), Then::Strays(case))),
            None if ended => Rest::Done,
            None => Rest::Work(Work::Listing(case)),
        }
    }

    /// `without_request`: bindings of a deleted request.
    fn next_orphan(&self, setting: &Setting, who: Who) -> Rest {
        match self.known(who).first().filter(|_| setting.has(Guard::StraysGo)) {
            Some((uid, name)) => Rest::Work(Work::Ending(Ending::of(*uid, *name), Then::Orphans)),
            None if self.leads(who) => Rest::Work(Work::Orphans),
            None => Rest::Done,
        }
    }

    /// `gather`: the decisions, and the binding where the status refers to one or where the result would be a denial.
    fn list(&self, setting: &Setting, who: Who, case: Case) -> Rest {
        let request = &case.request;
        let heard = match &self.replica(who).cached {
            Some(cached) if !setting.has(Guard::ReadDecisions) => rules::heard(setting, request, cached.decisions.iter()),
            _ => rules::heard(setting, request, self.decisions.iter().filter(|decision| !decision.gone)),
        };
        let hinted = request.state == State::Active || !case.leads || self.replica(who).knows(own_name(request));
        let verdict = rules::decide(setting, request, heard, Seen::Unread, setting.clock(who, self.now));
        match verdict {
            Verdict::Grant(deadline) if !hinted => Rest::Work(Work::Creating(case, heard, deadline)),
            _ => Rest::Work(Work::Reading(case, heard)),
        }
    }

    pub(crate) fn read(&self, case: Case) -> Seen {
        self.binding(own_name(&case.request)).map_or(Seen::Absent, |found| Seen::Present(*found))
    }

    /// `apply`: the binding gets the state of the verdict.
    pub(crate) fn apply(&self, setting: &Setting, who: Who, case: Case, heard: Heard, seen: Seen) -> Rest {
        let verdict = rules::decide(setting, &case.request, heard, seen, setting.clock(who, self.now));
        let running = case.request.state == State::Active;
        let remove = |found: Binding, then: Then| Rest::Work(Work::Ending(Ending::of(found.uid, found.name), then));
        match (verdict, seen) {
            (Verdict::Grant(_), _) if !case.leads => Rest::Done,
            (Verdict::Grant(deadline), Seen::Absent | Seen::Unread) if !running => Rest::Work(Work::Creating(case, heard, deadline)),
            (Verdict::Grant(deadline), Seen::Present(found)) if !running => {
                let report = Report { state: State::Active, expires: Some(deadline), binding: Some(found.uid) };
                Rest::Work(Work::Reporting(case, report))
            }
            (Verdict::Grant(deadline), _) => Rest::At(setting.when(who, deadline) + 1),
            (Verdict::Waits | Verdict::Ends(_), Seen::Present(found)) if !case.leads => remove(found, Then::Rest),
            (Verdict::Waits | Verdict::Ends(_), _) if !case.leads => Rest::Done,
            (Verdict::Waits, Seen::Present(found)) => remove(found, Then::Rest),
            (Verdict::Waits, _) => Rest::Done,
            (Verdict::Ends(state), Seen::Present(found)) => remove(found, Then::Report(case, state)),
            (Verdict::Ends(state), _) => Rest::Work(Work::Reporting(case, ended(&case, state))),
        }
    }

    fn end(&mut self, setting: &Setting, who: Who, ending: Ending, then: Then, call: Call) -> Rest {
        let outcome = ending.step(self, setting, call);
        match (outcome, then) {
            (Outcome::Goes(ending), then) => return Rest::Work(Work::Ending(ending, then)),
            (Outcome::Failed, _) => return Rest::Again,
            (Outcome::Gone | Outcome::There, _) => {}
            (Outcome::Emptied | Outcome::Stuck, _) => return Rest::NextTick,
        }
        self.believe_gone(ending.uid);
        self.replica_mut(who).forget(ending.uid);
        match then {
            Then::Strays(case) => self.next_stray(setting, who, case),
            Then::Report(case, state) => Rest::Work(Work::Reporting(case, ended(&case, state))),
            Then::Rest => Rest::Done,
            Then::Orphans => self.next_orphan(setting, who),
        }
    }

    fn orphans(&self, setting: &Setting) -> Rest {
        let decisions: Vec<_> = self.decisions.iter().filter(|decision| !decision.gone).copied().collect();
        match decisions.is_empty() {
            true => Rest::Done,
            false if setting.has(Guard::SecondLook) => Rest::Work(Work::LookingAgain(decisions)),
            false => Rest::Work(Work::Deleting(decisions)),
        }
    }

    fn delete_decisions(&mut self, decisions: &[Decision], call: Call) -> Rest {
        if call == Call::Refused {
            return Rest::Again;
        }
        for decision in self.decisions.iter_mut().filter(|decision| decisions.contains(decision)) {
            decision.gone = true;
        }
        if call == Call::Done { Rest::Done } else { Rest::Again }
    }
}

fn ended(case: &Case, state: State) -> Report {
    Report { state, expires: case.request.expires, binding: case.request.binding }
}
