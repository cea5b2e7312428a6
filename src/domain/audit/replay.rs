//! The replay: it decides every recorded grant and end again, from nothing but the log.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use api::{ActivationDecision, ApprovalPolicy, Reason, RoleActivationRequest, RoleEligibility, State, Verb, stored::StoredNamespace};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;

use super::{
    input::{self, RoleBody, SettingsBody},
    leaf::{Entry, Inputs, Known, Recorded, Reference},
};
use crate::{
    Base, Binding, BindingAction, Deletion, Guards, Lookup, Record, RequestFacts, Settings, Snapshot, Unread, activity::Kind,
    binding::Grant, convert, decide, instant::stamp,
};

/// An event that is recorded later than this after it happened may have lost its inputs: another user can have changed them meanwhile.
const LATE: SignedDuration = SignedDuration::from_mins(1);

/// The most that the clock of the operator, which sets the time of an event, may be behind the API server's, which sets that of a decision.
const CLOCKS: SignedDuration = SignedDuration::from_secs(5);

/// What the replay says about a grant or an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The rules decide the same from what is in the log.
    Proven,
    /// An end whose cause the log does not hold, such as a RoleBinding that another client removed. Access ended then.
    Observed(String),
    /// The recorded inputs are not those of that time, since the event was recorded late.
    Unproven(String),
    /// The rules decide otherwise, or an input is missing: the entry is false.
    Contradicted(String),
}

/// A grant or an end, with its proof.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The event.
    pub event: Recorded,
    /// True for a grant.
    pub grant: bool,
    /// The proof.
    pub proof: Proof,
}

/// The replay of one log. Give it the entries in their order.
#[derive(Debug, Default)]
pub struct Replay {
    known: Known,
    /// The granted requests that have not ended, by UID.
    granted: BTreeSet<String>,
    /// Ids of the events of requests that may continue, so that a repeated entry is found.
    ids: HashMap<String, BTreeSet<String>>,
    /// True if the beginning of the log was removed when it was pruned.
    pruned: bool,
}

impl Replay {
    /// Returns the replay of a log, of which the beginning was `pruned` or not.
    #[must_use]
    pub fn new(pruned: bool) -> Self {
        Self { pruned, ..Self::default() }
    }

    /// Takes the next entry. Returns the judgement of a grant or of an end.
    ///
    /// # Errors
    ///
    /// What is wrong with an entry that is neither.
    pub fn take(&mut self, entry: Entry) -> Result<Option<Judged>, String> {
        let event = match entry {
            Entry::Other => return Ok(None),
            Entry::Input(part) => return self.known.take(*part).map(|()| None),
            Entry::Event(event) => *event,
        };
        let Some(kind) = event.kind() else { return Ok(None) };
        let object = &event.data.object;
        if object.kind != "RoleActivationRequest" {
            return Ok(None);
        }
        let uid = object.uid.clone();
        if !self.ids.entry(uid.clone()).or_default().insert(event.id.clone()) {
            return Err(format!("event {} of {} is recorded twice", event.id, object.name));
        }
        let grant = kind == Kind::Granted;
        let was_granted = if grant { self.granted.insert(uid) } else { kind.is_end() && self.granted.remove(&uid) };
        let Some(proof) = judge(&self.known, &event) else { return Ok(None) };
        let ended_nothing = kind.is_end() && !was_granted && !self.pruned && self.was_granted(&event);
        let proof = if ended_nothing { Proof::Contradicted("it ended a grant that is not in the log".to_owned()) } else { proof };
        Ok(Some(Judged { event, grant, proof }))
    }

    /// Returns true if the request of an event says that it was granted.
    fn was_granted(&self, event: &Recorded) -> bool {
        let request = Inputted(&self.known).request(&event.data.inputs.request);
        request.is_ok_and(|request| request.found().is_some_and(|request| request.record.granted_at.is_some()))
    }
}

/// Decides a recorded grant or end again, from the inputs that are known. None for an event that is neither.
#[must_use]
pub fn judge(known: &Known, event: &Recorded) -> Option<Proof> {
    let kind = event.kind()?;
    let inputs = Inputted(known);
    match kind {
        Kind::Granted => Some(inputs.grant(event)),
        kind if kind.is_end() => Some(inputs.end(event, kind)),
        _ => None,
    }
}

/// The inputs, as the rules read them.
struct Inputted<'a>(&'a Known);

impl Inputted<'_> {
    fn grant(&self, event: &Recorded) -> Proof {
        let judged = self.snapshot(&event.data.inputs, event.time).and_then(|(mut snapshot, settings)| {
            // Times have whole seconds. A denial or deactivation in the second of the grant may have come after it.
            snapshot.decisions.retain(|decision| {
                let may_take_back = matches!(decision.spec.decision, Verb::Deny | Verb::Revoke | Verb::Deactivate);
                !may_take_back || decision.created < event.time
            });
            let recorded = std::mem::take(&mut snapshot.request.record);
            let (digest, deadline) = (recorded.digest.clone(), recorded.expires_at);
            let verdict = decide(&snapshot, &settings, event.time);
            match &verdict.grant {
                Some(grant) if verdict.binding == BindingAction::Create => same(grant, digest.as_deref(), deadline),
                _ => Err(format!("the rules decide {} ({}): {}", verdict.state, verdict.reason, verdict.message)),
            }
        });
        judged.map_or_else(|why| unless_late(event, why), |()| Proof::Proven)
    }

    fn end(&self, event: &Recorded, kind: Kind) -> Proof {
        let judged = self.snapshot(&event.data.inputs, event.time);
        let (mut snapshot, settings) = match judged {
            Ok(found) => found,
            Err(why) => return unless_late(event, why),
        };
        let record = &mut snapshot.request.record;
        let (reason, granted) = (record.reason, record.granted_at.is_some());
        if granted {
            *record = Record { state: Some(State::Active), ended_at: None, ..std::mem::take(record) };
        } else {
            let state = if matches!(kind, Kind::Revoked) { Some(State::Scheduled) } else { None };
            *record = Record { state, ..Record::default() };
        }
        let verdict = decide(&snapshot, &settings, event.time);
        if Kind::of_end(verdict.state) == Some(kind) {
            return Proof::Proven;
        }
        let outside = [
            Reason::BindingRemoved,
            Reason::BindingModified,
            Reason::BindingConflict,
            Reason::BindingRefused,
            Reason::ExtendedRequestEnded,
            Reason::Uninstalled,
            Reason::Unreadable,
        ];
        match reason {
            Some(reason) if outside.contains(&reason) => Proof::Observed(format!("{reason}: {}", event.data.message)),
            // Limits count other requests, and guards are not in the log. Nothing was granted.
            Some(reason) if !granted => Proof::Observed(format!("{reason}: {}", event.data.message)),
            _ => unless_late(event, format!("the rules decide {} ({}): {}", verdict.state, verdict.reason, verdict.message)),
        }
    }

    fn body<T: DeserializeOwned>(&self, kind: input::Kind, hash: &str) -> Result<T, String> {
        let body = self.0.get(kind, hash).ok_or_else(|| format!("its input {kind:?} {hash} is not in the log before it"))?;
        serde_json::from_value(body.clone()).map_err(|error| format!("its input {kind:?} {hash} cannot be read: {error}"))
    }

    fn lookup<T: DeserializeOwned, F>(
        &self,
        kind: input::Kind,
        found: &Reference,
        facts: impl FnOnce(T) -> F,
    ) -> Result<Lookup<F>, String> {
        Ok(match found {
            Reference::Hash(hash) => Lookup::Found(facts(self.body(kind, hash)?)),
            Reference::Absent => Lookup::Absent,
            Reference::Deleting => Lookup::Deleting(Deletion::default()),
            Reference::Unknown => Lookup::Unreadable("the log does not say what it was".to_owned()),
        })
    }

    fn request(&self, found: &Reference) -> Result<Lookup<RequestFacts>, String> {
        self.lookup(input::Kind::Request, found, |stored: RoleActivationRequest| convert::request(&stored))
    }

    fn snapshot(&self, inputs: &Inputs, at: Timestamp) -> Result<(Snapshot, Settings), String> {
        let Reference::Hash(settings) = &inputs.settings else { return Err("it does not name the settings of the operator".to_owned()) };
        let settings = self.body::<SettingsBody>(input::Kind::Settings, settings)?.settings();
        let Lookup::Found(request) = self.request(&inputs.request)? else { return Err("it does not name its request".to_owned()) };
        let decisions = inputs.decisions.iter().map(|hash| {
            let stored: ActivationDecision = self.body(input::Kind::Decision, hash)?;
            // Those that were made later belong to later events.
            let latest = at.checked_add(CLOCKS).unwrap_or(at);
            Ok(Some(convert::object(&stored.metadata, stored.spec)).filter(|decision| decision.created <= latest))
        });
        let decisions = decisions.filter_map(Result::transpose).collect::<Result<Vec<_>, String>>()?;
        let base = inputs.base.as_ref().map(|base| self.base(base, at)).transpose()?;
        let snapshot = Snapshot {
            namespace: self.lookup(input::Kind::Namespace, &inputs.namespace, |stored: StoredNamespace| convert::namespace(stored))?,
            eligibility: self.lookup(input::Kind::Eligibility, &inputs.eligibility, |stored: RoleEligibility| {
                Arc::new(convert::object(&stored.metadata, stored.spec))
            })?,
            policy: self.lookup(input::Kind::Policy, &inputs.policy, |stored: ApprovalPolicy| {
                Arc::new(convert::object(&stored.metadata, stored.spec))
            })?,
            role: match self.lookup(input::Kind::Role, &inputs.role, |body: RoleBody| convert::role(body.kind, body.stored, None))? {
                Lookup::Found(role) => role,
                Lookup::Absent => Lookup::Absent,
                Lookup::Deleting(deletion) => Lookup::Deleting(deletion),
                Lookup::Unreadable(why) => Lookup::Unreadable(why),
            },
            request,
            decisions,
            unread: Unread::default(),
            peers: Vec::new(),
            debts: Vec::new(),
            base,
            binding: Binding::Unread,
            guards: Guards::Unasked,
        };
        Ok((snapshot, settings))
    }

    fn base(&self, found: &Reference, at: Timestamp) -> Result<Lookup<Box<Base>>, String> {
        Ok(match self.request(found)? {
            Lookup::Found(mut request) => {
                let record = &mut request.record;
                if record.granted_at.is_some() && record.ended_at.is_none_or(|ended| ended > at) {
                    record.state = Some(State::Active);
                }
                Lookup::Found(Box::new(Base { request, binding: Binding::Unread }))
            }
            Lookup::Absent => Lookup::Absent,
            Lookup::Deleting(deletion) => Lookup::Deleting(deletion),
            Lookup::Unreadable(why) => Lookup::Unreadable(why),
        })
    }
}

fn same(grant: &Grant, digest: Option<&str>, deadline: Option<Timestamp>) -> Result<(), String> {
    if digest != Some(grant.digest.as_str()) {
        return Err(format!(
            "what it rests on has the digest {}, and the request was granted with {}",
            grant.digest,
            digest.unwrap_or("none")
        ));
    }
    if deadline != Some(grant.deadline) {
        let recorded = deadline.map_or_else(|| "none".to_owned(), stamp);
        return Err(format!("the rules grant until {}, and the request was granted until {recorded}", stamp(grant.deadline)));
    }
    Ok(())
}

fn unless_late(event: &Recorded, why: String) -> Proof {
    if event.data.recorded.duration_since(event.time) > LATE {
        Proof::Unproven(format!("it was recorded at {}, and its inputs can have changed: {why}", stamp(event.data.recorded)))
    } else {
        Proof::Contradicted(why)
    }
}
