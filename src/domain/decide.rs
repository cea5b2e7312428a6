//! The state machine: from all stored facts to the state of a request and the action on its binding.

use jiff::{SignedDuration, Timestamp};

use super::{
    approval::{self, Progress},
    binding::{Binding, BindingSubject, Grant},
    decisions,
    digest::Digest,
    duration, eligibility, emergency, extension,
    facts::{GuardFacts, Guards, Lookup, NamespaceFacts, Object, RoleFacts},
    guards,
    instant::stamp,
    limits, one_live,
    peers::LimitsInput,
    person::{self, Account},
    refusal::Refusal,
    requirements, running,
    settings::Settings,
    snapshot::Snapshot,
    start::{self, Term},
    usable::{self, Check, Failed, Input},
    verdict::{BindingAction, Verdict, describe_grant, requeue_at},
    windows,
};
use api::{
    ActivationDecisionSpec, ApprovalPolicySpec, Duration, Reason, RoleEligibilitySpec, Stamp, State, Verb, eligibility::RoleKind,
    names::binding_name,
};

/// Requeue interval of a request of which a decision could not be read.
const UNREAD_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// Decides one request. Total and stateless (api rule 7): the same snapshot and time give the same verdict.
#[must_use]
pub fn decide(snapshot: &Snapshot, settings: &Settings, now: Timestamp) -> Verdict {
    let record = &snapshot.request.record;
    match record.state {
        _ if snapshot.request.object.deleting => Verdict {
            binding: BindingAction::Remove,
            ..Verdict::new(State::Pending, Reason::RequestNotFound, "the request is being deleted")
        },
        Some(state) if state.is_terminal() => Verdict::new(state, record.reason.unwrap_or(Reason::Unreadable), "the request has completed"),
        Some(State::Active) => running::running(snapshot, settings, now),
        _ => deciding(snapshot, settings, now),
    }
}

/// The facts that a grant is decided on, once all of them are present and usable.
struct Known<'a> {
    requester: &'a Stamp,
    namespace: &'a NamespaceFacts,
    eligibility: &'a Object<RoleEligibilitySpec>,
    policy: &'a Object<ApprovalPolicySpec>,
    role: &'a RoleFacts,
}

impl<'a> Known<'a> {
    fn limits_input(&self, snapshot: &'a Snapshot, settings: &'a Settings) -> LimitsInput<'a> {
        let Self { requester, policy, .. } = *self;
        LimitsInput {
            request: &snapshot.request,
            requester,
            policy,
            peers: &snapshot.peers,
            debts: &snapshot.debts,
            identities: &settings.identities,
        }
    }
}

/// Why a fact is missing: permanently, or perhaps only now. Absence never grants anything (api rule 6).
enum Missing {
    /// The request is denied.
    Denied(Refusal),
    /// The request waits, and times out if nothing changes.
    Waits(Refusal),
}

fn deciding(snapshot: &Snapshot, settings: &Settings, now: Timestamp) -> Verdict {
    let mut verdict = undecided(snapshot, settings, now);
    // A grant that was approved already is revoked, not denied.
    if snapshot.request.record.state == Some(State::Scheduled) && verdict.state == State::Denied {
        verdict.state = State::Revoked;
    }
    let mut verdict = match (&snapshot.binding, verdict.binding) {
        // A binding that no status reports: created just before a crash, or by another writer. It is kept only if the same grant would be
        // made now.
        (Binding::Present(found), BindingAction::Create) => match verdict.grant.as_ref().and_then(|grant| found.difference(grant)) {
            None => Verdict { binding: BindingAction::Keep, ..verdict },
            Some(difference) => {
                let message = format!(
                    "RoleBinding '{}' already exists and differs from the grant: {difference}",
                    binding_name(&snapshot.request.object.uid)
                );
                Verdict::new(State::Failed, Reason::BindingConflict, message)
            }
        },
        (Binding::Present(_), _) => Verdict { binding: BindingAction::Remove, ..verdict },
        (Binding::Absent | Binding::Unread, BindingAction::Create) => held_back(snapshot, verdict),
        (Binding::Absent | Binding::Unread, _) => verdict,
    };
    // An existing grant already rests on these facts.
    if verdict.state != State::Active {
        verdict.counted.retain(|counted| snapshot.guards.surely_held_at(counted.at));
    }
    verdict
}

/// Holds back a grant while a guard is not proven. The proof of the guards triggers the requeue.
fn held_back(snapshot: &Snapshot, verdict: Verdict) -> Verdict {
    let Guards::Watched(GuardFacts { hold: Some(hold), .. }) = &snapshot.guards else { return verdict };
    let deadline = verdict.grant.as_ref().map(|grant| grant.deadline);
    Verdict {
        state: State::Pending,
        reason: hold.reason,
        message: hold.message.clone(),
        grant: None,
        binding: BindingAction::Keep,
        review: None,
        look_again: deadline,
        ..verdict
    }
}

/// Refuses what was written while the guards were not proven to be in force, since its author is unknown (T42, invariant 14).
fn unguarded(snapshot: &Snapshot) -> Result<(), Missing> {
    let Guards::Watched(facts) = &snapshot.guards else { return Ok(()) };
    // Until the guards are known, nothing is granted and nothing is refused permanently.
    if facts.proven.is_empty() {
        return Ok(());
    }
    let created = snapshot.request.object.created;
    if !facts.proven.iter().any(|span| span.covers(created)) {
        return Err(Missing::Denied(guards::requested_unguarded(created)));
    }
    let spec = &snapshot.request.object.spec;
    let written = |what: String| Missing::Waits(guards::written_unguarded(&what));
    if facts.eligibility_unproven {
        return Err(written(format!("eligibility '{}'", spec.eligibility_ref.name)));
    }
    if facts.policy_unproven {
        let name = snapshot.policy.found().map_or("", |policy| policy.name.as_str());
        return Err(written(format!("policy '{name}'")));
    }
    Ok(())
}

/// Refuses a request of which a decision cannot be read, since it may be a denial.
fn all_read(snapshot: &Snapshot) -> Result<(), Missing> {
    snapshot.unread.refusal().map_or(Ok(()), |refusal| Err(Missing::Waits(refusal)))
}

fn undecided(snapshot: &Snapshot, settings: &Settings, now: Timestamp) -> Verdict {
    let request = &snapshot.request;
    let Some(requester) = &request.object.spec.requester else {
        return Verdict::new(State::Denied, Reason::UserInfoMissing, "the request has no stamped author; create it again");
    };
    if let Some(decision) = decisions::deactivation(snapshot, requester, settings) {
        return Verdict::new(State::Withdrawn, Reason::WithdrawnByRequester, format!("withdrawn {}", decisions::describe(decision)))
            .by(decisions::decider(decision));
    }
    if let Some(decision) = snapshot.policy.found().and_then(|policy| decisions::veto(snapshot, &policy.spec)) {
        let (state, reason, word) = if request.record.state == Some(State::Scheduled) {
            (State::Revoked, Reason::RevokedByUser, "revoked")
        } else {
            (State::Denied, Reason::DeniedByApprover, "denied")
        };
        return Verdict::new(state, reason, format!("{word} {}", decisions::describe(decision))).by(decisions::decider(decision));
    }
    let until = approval::deadline(request, snapshot.policy.found().map(|p| &p.spec));
    let known = match unguarded(snapshot).and_then(|()| all_read(snapshot)).and_then(|()| known(snapshot, requester, settings)) {
        Ok(known) => known,
        Err(Missing::Denied(refusal)) => return Verdict::refused(State::Denied, refusal),
        Err(Missing::Waits(refusal)) if now >= until => {
            return Verdict::new(
                State::TimedOut,
                refusal.reason,
                format!("timed out at {} before it could be decided: {}", stamp(until), refusal.message),
            );
        }
        Err(Missing::Waits(refusal)) => {
            // No watch reports the removal of such a decision.
            let soon = now.checked_add(UNREAD_AGAIN).ok().filter(|_| snapshot.unread.refusal().is_some());
            return Verdict { look_again: Some(soon.map_or(until, |soon| soon.min(until))), ..Verdict::refused(State::Pending, refusal) };
        }
    };
    match asked_for(snapshot, &known, settings, now) {
        Ok(asked) => approved(snapshot, &known, &asked, until, settings, now),
        Err(refusal) => Verdict::refused(State::Denied, refusal),
    }
}

fn known<'a>(snapshot: &'a Snapshot, requester: &'a Stamp, settings: &Settings) -> Result<Known<'a>, Missing> {
    let spec = &snapshot.request.object.spec;
    let name = &spec.eligibility_ref.name;
    let eligibility = match &snapshot.eligibility {
        Lookup::Found(eligibility) => eligibility.as_ref(),
        Lookup::Absent if snapshot.request.record.state == Some(State::Scheduled) => {
            return Err(Missing::Denied(eligibility::removed(name)));
        }
        Lookup::Absent => return Err(Missing::Denied(eligibility::not_found(name, "'kubectl get roleeligibilities' lists them"))),
        Lookup::Deleting(deletion) if snapshot.request.record.state == Some(State::Scheduled) => {
            return Err(Missing::Denied(eligibility::removal(name, deletion)));
        }
        Lookup::Deleting(deletion) => return Err(Missing::Denied(eligibility::deleting(name, deletion))),
        Lookup::Unreadable(why) => return Err(waits(Reason::Unreadable, format!("eligibility '{name}' cannot be read: {why}"))),
    };
    let input = Input {
        eligibility,
        policy: Some(&snapshot.policy),
        namespace: Some((snapshot.request.namespace.as_str(), &snapshot.namespace)),
        role: Some(&snapshot.role),
        settings,
    };
    usable::usable(&input).map_err(|failed| not_usable(failed, snapshot, eligibility))?;
    let (Some(policy), Some(namespace), Some(role)) = (snapshot.policy.found(), snapshot.namespace.found(), snapshot.role.found()) else {
        // Unreachable: a check above fails if one of the three is missing.
        return Err(waits(Reason::Unreadable, format!("eligibility '{name}' cannot be used")));
    };
    Ok(Known { requester, namespace, eligibility, policy, role })
}

/// Returns the outcome for a request whose eligibility cannot be used. An admin can correct each cause before the request times out, except
/// a namespace that is being deleted.
fn not_usable(Failed { check, refusal }: Failed, snapshot: &Snapshot, eligibility: &Object<RoleEligibilitySpec>) -> Missing {
    let (name, role) = (&eligibility.name, &eligibility.spec.role_ref);
    match check {
        Check::Written | Check::PolicyAllows => {
            waits(Reason::EligibilityNotReady, format!("eligibility '{name}' cannot be used: {refusal}"))
        }
        Check::PolicyFound => match absence(&snapshot.policy) {
            Some(how) => {
                let policy = &eligibility.spec.policy_ref.name;
                waits(refusal.reason, format!("eligibility '{name}' refers to policy '{policy}', which {how}"))
            }
            None => Missing::Waits(refusal),
        },
        Check::PolicyWritten => Missing::Waits(usable::policy_not_ready(&eligibility.spec, &refusal)),
        Check::NamespaceFound if refusal.reason == Reason::NamespaceTerminating => Missing::Denied(refusal),
        Check::NamespaceFound | Check::AuthorsChecked => Missing::Waits(refusal),
        Check::RoleFound => match absence(&snapshot.role) {
            Some(how) => {
                let is_absent = matches!(snapshot.role, Lookup::Absent) && role.kind == RoleKind::Role;
                let place = if is_absent { format!(" in namespace '{}'", snapshot.request.namespace) } else { String::new() };
                waits(refusal.reason, format!("eligibility '{name}' refers to {} '{}', which {how}{place}", role.kind, role.name))
            }
            None => Missing::Waits(refusal),
        },
        // The author accepted the risks of the role at that time. A role that gained a risk since waits for its author (T17, T18).
        Check::RisksAccepted => waits(refusal.reason, format!("eligibility '{name}' cannot be used: {}", refusal.message)),
    }
}

/// Returns the predicate that describes a missing object. `None` if it is present or cannot be read.
fn absence<T>(lookup: &Lookup<T>) -> Option<String> {
    match lookup {
        Lookup::Absent => Some("does not exist".to_owned()),
        Lookup::Deleting(deletion) => Some(deletion.to_string()),
        Lookup::Found(_) | Lookup::Unreadable(_) => None,
    }
}

fn waits(reason: Reason, message: String) -> Missing {
    Missing::Waits(Refusal::new(reason, message))
}

/// The terms of a request that its requester is allowed to make.
struct Asked {
    account: Account,
    duration: Duration,
    /// End of the extended activation, and start of its chain.
    base: Option<extension::Prolonged>,
}

/// Returns the terms that are requested, if the requester may request them now.
fn asked_for(snapshot: &Snapshot, known: &Known<'_>, settings: &Settings, now: Timestamp) -> Result<Asked, Refusal> {
    let Known { requester, namespace, eligibility, policy, .. } = known;
    let (request, identities) = (&snapshot.request, &settings.identities);
    let planned = start::planned(request);
    let account = eligibility::eligible(requester, eligibility, &request.namespace, namespace, settings, now.max(planned))?;
    let base = extension::base(snapshot, requester, identities, now);
    let start = base.as_ref().ok().copied().flatten().map_or(planned, |(end, _)| end);
    start::identity(requester, &account, request.object.created, start, eligibility, policy)?;
    let duration = duration::check(&request.object.spec, eligibility, policy, settings)?;
    emergency::check(known.limits_input(snapshot, settings), &account, duration)?;
    requirements::check(request, requester, policy)?;
    one_live::check(request, requester, &snapshot.peers, identities)?;
    limits::ahead(request, policy)?;
    Ok(Asked { account, duration, base: base? })
}

fn approved(snapshot: &Snapshot, known: &Known<'_>, asked: &Asked, until: Timestamp, settings: &Settings, now: Timestamp) -> Verdict {
    let request = &snapshot.request;
    let digest = Digest::of(request, known.namespace, known.eligibility, known.policy, known.role);
    let counting: Vec<_> = snapshot.decisions.iter().filter(|decision| counts(snapshot, decision)).cloned().collect();
    let mut progress = approval::progress(request, known.requester, known.policy, &counting, &digest, &settings.identities);
    let dropped = |said: &Object<ActivationDecisionSpec>| said.spec.decision == Verb::Approve && request.is_named_by(said);
    progress.unguarded =
        snapshot.decisions.iter().filter(|said| dropped(said) && !snapshot.guards.held_at(said.created)).map(|said| said.created).max();
    let mut verdict = match progress.complete_at {
        None if now >= until => {
            let why = progress.why_less();
            Verdict::new(State::TimedOut, Reason::ApprovalTimedOut, format!("the approval timed out at {}{why}", stamp(until)))
        }
        None => waiting(snapshot, known, asked, &progress, until, settings, now),
        Some(at) => granted(snapshot, known, asked, (at, progress.shortened), &digest, settings, now),
    };
    verdict.awaiting = if verdict.state == State::AwaitingApproval { progress.awaiting } else { None };
    verdict.counted = progress.counted;
    verdict.digest = Some(digest);
    verdict.asked = Some(asked.duration);
    verdict
}

/// Returns false for a decision that may be forged, and for an Approve that is being deleted. A denial counts until it is removed.
fn counts(snapshot: &Snapshot, decision: &Object<ActivationDecisionSpec>) -> bool {
    snapshot.guards.held_at(decision.created) && !(decision.deleting && decision.spec.decision == Verb::Approve)
}

fn waiting(
    snapshot: &Snapshot,
    known: &Known<'_>,
    asked: &Asked,
    progress: &Progress,
    until: Timestamp,
    settings: &Settings,
    now: Timestamp,
) -> Verdict {
    let Known { requester, eligibility, policy, .. } = known;
    let request = &snapshot.request;
    let base_end = asked.base.map(|(end, _)| end);
    // A start is never earlier than the approval, and the approval is never earlier than now.
    let earliest = now.max(base_end.unwrap_or_else(|| start::planned(request)));
    let refusal = limits::pending(known.limits_input(snapshot, settings))
        .and_then(|()| start::identity(requester, &asked.account, request.object.created, earliest, eligibility, policy))
        // A start that the request names is known already, so its term can be verified now.
        .and_then(|()| match request.object.spec.start_time {
            Some(_) if !request.object.spec.emergency => windows::start(policy, earliest),
            _ => Ok(()),
        });
    if let Err(refusal) = refusal {
        return Verdict::refused(State::Denied, refusal);
    }
    let message = progress.awaiting.as_ref().map_or_else(
        || "no stage lists approvers".to_owned(),
        |awaiting| {
            format!(
                "waiting for approval in stage '{}': {} of {} (approvers: {}), expires at {}{}",
                awaiting.stage,
                awaiting.have,
                awaiting.required,
                person::describe(&awaiting.approvers),
                stamp(until),
                progress.why_less(),
            )
        },
    );
    // The instant from which on the stamp is too old for a start.
    let too_old = start::identity_lasts(requester, &asked.account, request.object.created, eligibility, policy);
    let look_again = [eligibility.spec.end_time, base_end, too_old].into_iter().flatten().chain([until]).min();
    Verdict { look_again, ..Verdict::new(State::AwaitingApproval, Reason::WaitingForApproval, message) }
}

/// Returns the grant of what was approved at `complete_at`, and shortened; or why it cannot be made, or not yet.
fn granted(
    snapshot: &Snapshot,
    known: &Known<'_>,
    asked: &Asked,
    (complete_at, shortened): (Timestamp, Option<Duration>),
    digest: &Digest,
    settings: &Settings,
    now: Timestamp,
) -> Verdict {
    let Known { requester, eligibility, policy, .. } = known;
    let (request, spec) = (&snapshot.request, &snapshot.request.object.spec);
    let wanted = shortened.map_or(asked.duration, |shorter| shorter.min(asked.duration));
    let made = start::planned(request).max(complete_at);
    let term = start::term(request, complete_at, wanted, asked.base, eligibility, policy).and_then(|term| {
        start::identity(requester, &asked.account, request.object.created, term.start, eligibility, policy)?;
        start::total(&term, &policy.spec, &policy.name, settings)?;
        limits::active(known.limits_input(snapshot, settings))?;
        if !emergency::skips(spec, &policy.spec) && spec.base().is_none() {
            limits::cooldown(known.limits_input(snapshot, settings), term.start)?;
        }
        Ok(term)
    });
    let Term { start, deadline, began } = match term {
        Ok(term) => term,
        Err(refusal) => return Verdict::refused(State::Denied, refusal),
    };
    if now >= deadline {
        let message = format!("a grant from {} would already have ended at {}; request it again", stamp(start), stamp(deadline));
        return Verdict::new(State::TimedOut, Reason::DeadlineExceeded, message);
    }
    // Only a requested start can be in the future. All other starts are in the past, whatever this clock shows (T35).
    if spec.start_time.is_some() && now < made {
        let role = &eligibility.spec.role_ref;
        let message =
            format!("{} '{}' in namespace '{}' from {} until {}", role.kind, role.name, request.namespace, stamp(start), stamp(deadline));
        return Verdict { look_again: Some(made), ..Verdict::new(State::Scheduled, Reason::StartScheduled, message) };
    }
    let role = &eligibility.spec.role_ref;
    let grant = Grant {
        name: binding_name(&request.object.uid),
        namespace: request.namespace.clone(),
        namespace_uid: known.namespace.uid.clone(),
        request: request.object.name.clone(),
        request_uid: request.object.uid.clone(),
        start,
        began,
        deadline,
        subject: BindingSubject::of(requester, &asked.account),
        role: role.clone(),
        digest: digest.to_string(),
        requester: requester.username.to_string(),
        justification: spec.justification.as_ref().map(ToString::to_string).unwrap_or_default(),
    };
    let review = emergency::review(request, Some(start), Some(&policy.spec), &snapshot.surely_decided(), &settings.identities, now);
    let look_again = requeue_at(deadline, eligibility, review.as_ref());
    let message = describe_grant(role, &request.namespace, deadline);
    Verdict {
        grant: Some(grant),
        binding: BindingAction::Create,
        review,
        look_again: Some(look_again),
        ..Verdict::new(State::Active, Reason::Granted, message)
    }
}
