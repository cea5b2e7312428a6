//! Work on the request (`src/controller/requests/`), call by call: gather, decide, apply, report; and the way of a replica that stands by.

use crate::{
    call::{Call, Kind},
    faults::Fault,
    guards::Guard,
    replica::Known,
    revoker::{Ending, Outcome},
    rules::{self, Heard, Seen, Verdict},
    setting::Setting,
    world::{Binding, BindingUid, Decision, Late, Name, Request, State, Subjects, Time, Verb, Who, World},
};

/// What a piece of work is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    /// The request as it was read.
    pub request: Request,
    /// The replica held the Lease when it began.
    pub leads: bool,
    /// Something spoke against the request already when the work began. Read by properties only.
    pub known_no: bool,
}

/// What comes after an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Then {
    /// The next binding that should not be, then the request itself.
    Strays(Case),
    /// The report.
    Report(Case, State),
    /// Nothing: the binding of a request that goes on waiting, or what a replica takes away that stands by.
    Rest,
    /// The next binding of a request that is gone, then its decisions.
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
    /// GET it, since the name is taken.
    Comparing(Case, Heard),
    /// End a binding.
    Ending(Ending, Then),
    /// Write the status.
    Reporting(Case, Report),
    /// List the decisions on a request that is gone.
    Orphans,
    /// GET the request again before they are deleted.
    LookingAgain(Vec<Decision>),
    /// Delete them.
    Deleting(Vec<Decision>),
}

/// What a status is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// State.
    pub state: State,
    /// `expiresAt`.
    pub expires: Option<Time>,
    /// `bindingRef.uid`.
    pub binding: Option<BindingUid>,
}

/// What the queue does with the request after a piece of work (`Next` in `src/queue.rs`).
enum Rest {
    /// More of it.
    Work(Work),
    /// Until somebody asks.
    Done,
    /// It failed by no fault of its own: again at once.
    Again,
    /// It cannot go on now.
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
    /// True when the worker on requests of a replica has something to do.
    #[must_use]
    pub fn request_is_due(&self, who: Who) -> bool {
        let replica = self.replica(who);
        replica.work.is_some() || (replica.phase == crate::replica::Phase::Running && replica.look.is_some_and(|at| at <= self.now))
    }

    /// The kind of its next call.
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

    /// It makes that call (`work` in `src/controller/requests/mod.rs`).
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

    /// The first step of `lead` and `stand_by`: the request is read.
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

    /// `remove_strays`: bindings that name this request and are not its own, or whose request is at an end.
    fn next_stray(&self, setting: &Setting, who: Who, case: Case) -> Rest {
        let ended = case.request.state.is_terminal();
        let own = own_name(&case.request);
        // A name that says nothing of its request is judged by the owner that it bears.
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

    /// `without_request`: bindings of a request that is gone.
    fn next_orphan(&self, setting: &Setting, who: Who) -> Rest {
        match self.known(who).first().filter(|_| setting.has(Guard::StraysGo)) {
            Some((uid, name)) => Rest::Work(Work::Ending(Ending::of(*uid, *name), Then::Orphans)),
            None if self.leads(who) => Rest::Work(Work::Orphans),
            None => Rest::Done,
        }
    }

    /// `gather`: the decisions, and the binding where something hints at one or where the answer would be no.
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

    fn read(&self, case: Case) -> Seen {
        self.binding(own_name(&case.request)).map_or(Seen::Absent, |found| Seen::Present(*found))
    }

    /// `apply`: the binding becomes what the verdict says.
    fn apply(&self, setting: &Setting, who: Who, case: Case, heard: Heard, seen: Seen) -> Rest {
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

    /// `create` in `src/controller/requests/apply.rs`: what is checked last, and the one write that widens access.
    fn create(&mut self, setting: &Setting, who: Who, case: Case, heard: Heard, deadline: Time, call: Call) -> Rest {
        let (request, now) = (case.request, self.now);
        if setting.has(Guard::TooLate) && setting.clock(who, now) >= i16::from(deadline) {
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
                    self.replica_mut(who).note(Known { uid, name, deadline, doubted: false, rests: false });
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
        // A call that outlives the Lease, or a Lease that somebody took away, may let the next holder be faster.
        if in_time && request.ended.is_some() && !self.lease_was_deleted(setting) {
            self.faults.note(Fault::GrantedAfterEnd);
        }
        true
    }

    /// The name is taken: with what has it in hand the rules tell.
    fn compare(&self, setting: &Setting, who: Who, case: Case, heard: Heard) -> Rest {
        match self.read(case) {
            Seen::Present(found) => self.apply(setting, who, case, heard, Seen::Present(found)),
            Seen::Absent | Seen::Unread => Rest::Again,
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

    /// `report` and `write_status` in `src/controller/requests/apply.rs`.
    fn report(&mut self, setting: &Setting, who: Who, case: Case, report: Report, call: Call) -> Rest {
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
        // What is at an end leaves the watch of live requests; a replica's own "Active" is no news to anybody.
        if report.state.is_terminal() || !setting.has(Guard::ReadRequest) {
            self.stir();
        }
        match (call, report.expires) {
            (Call::Done, Some(deadline)) if !report.state.is_terminal() => Rest::At(setting.when(who, deadline) + 1),
            (Call::Done, _) => Rest::Done,
            _ => Rest::Again,
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

    /// The deadline of a request by all that was ever said of it.
    #[must_use]
    pub fn deadline_of(&self, setting: &Setting, request: &Request) -> Option<Time> {
        let about: Vec<_> = self.decisions.iter().filter(|decision| decision.about == request.uid).collect();
        let approved = about.iter().find(|decision| decision.verb == Verb::Approve).map(|decision| decision.at);
        rules::deadline(setting, request, Heard { approved, against: None })
    }

    /// Since when something speaks against a request: a decision, its deletion, its recorded end.
    #[must_use]
    pub fn speaks_against(&self, request: &Request) -> Option<Time> {
        let stored = self.request_of(request.uid)?;
        let no = |decision: &&Decision| decision.about == request.uid && decision.verb != Verb::Approve;
        let said = self.decisions.iter().filter(no).map(|decision| decision.at);
        said.chain(stored.gone).chain(stored.ended).min()
    }
}

fn ended(case: &Case, state: State) -> Report {
    Report { state, expires: case.request.expires, binding: case.request.binding }
}
