//! Properties of a grant: invariants 3, 4, 5, 6, 8.

use proptest::prelude::*;

use super::*;
use domain::approval;

/// Returns another spelling of `name` by the same person.
fn same_name(case: &TestCase, name: &str) -> String {
    let name = name.to_lowercase();
    if case.settings.identities == Identities::default() {
        return name;
    }
    let name = name.strip_prefix("oidc:").unwrap_or(&name);
    if name == "ann-admin" { "ann".to_owned() } else { name.to_owned() }
}

fn is_same(case: &TestCase, a: &Stamp, b: &Stamp) -> bool {
    let by_uid = a.uid.is_some() && a.uid == b.uid;
    by_uid || same_name(case, a.username.as_str()) == same_name(case, b.username.as_str())
}

fn is_listed(who: &Stamp, people: &People) -> bool {
    match who.username.as_str() {
        parts::ROBOT => people.users.contains(&who.username),
        name if name.starts_with("system:") => false,
        _ => people.users.contains(&who.username) || who.groups.iter().any(|g| people.groups.contains(g)),
    }
}

fn about(case: &TestCase, verb: Verb) -> impl Iterator<Item = (&Object<ActivationDecisionSpec>, &Stamp)> {
    let request = &case.snapshot.request.object;
    let mine = move |d: &&Object<ActivationDecisionSpec>| {
        d.spec.decision == verb
            && d.spec.request_ref.name == request.name
            && d.spec.request_ref.uid.as_deref() == Some(request.uid.as_str())
    };
    case.snapshot.decisions.iter().filter(mine).filter_map(|d| d.spec.decider.as_ref().map(|who| (d, who)))
}

/// Counts approvals in a slow and independent way: the earliest instant at which every stage is complete, and the shortest duration until
/// then.
fn naive(case: &TestCase) -> Option<(Timestamp, Option<Duration>)> {
    let policy = &case.snapshot.policy.found()?.spec;
    let request = &case.snapshot.request.object;
    if policy.approval.automatic.is_some() && policy.approval.stages.is_empty() {
        return Some((request.created, None));
    }
    let requester = request.spec.requester.as_ref()?;
    let digest = case.digest_if_known()?.to_string();
    let until = request.created + SignedDuration::from_secs(policy.approval.timeout.map_or(86_400, |d| i64::from(d.as_secs())));
    let shortest = policy.limits.as_ref().and_then(|l| l.min_duration).map_or(1, Duration::as_secs);
    let stages = &policy.approval.stages;
    let stage_of = |who: &Stamp| stages.iter().position(|s| is_listed(who, &s.approvers));
    let approves: Vec<_> = about(case, Verb::Approve).filter(|(d, _)| d.created < until).collect();
    let valid = |d: &ActivationDecisionSpec| {
        let shown = d.digest.as_deref().unwrap_or_default();
        let full = digest == shown;
        let said = d.comment.as_ref().is_some_and(|c| !c.is_empty()) || !policy.approval.require_comment;
        full && said && d.duration.is_none_or(|d| d.as_secs() >= shortest)
    };
    let mut times: Vec<_> = approves.iter().map(|(d, _)| d.created).collect();
    times.sort();
    times.into_iter().find_map(|at| {
        let so_far: Vec<_> = approves.iter().filter(|(d, _)| d.created <= at).collect();
        // Each person as the set of all Approves by their identities. The requester comes first.
        let mut people: Vec<Vec<&Stamp>> = vec![vec![requester]];
        for (_, who) in &so_far {
            let (linked, others): (Vec<_>, Vec<_>) =
                people.into_iter().partition(|person| person.iter().any(|one| is_same(case, one, who)));
            let mut person: Vec<&Stamp> = linked.concat();
            person.push(who);
            people = [vec![person], others].concat();
        }
        let has_people = |(number, stage): (usize, &Stage)| {
            let counted = people.iter().filter(|person| !person.contains(&requester)).filter(|person| {
                let theirs = so_far.iter().filter(|(d, who)| person.contains(who) && valid(&d.spec));
                theirs.filter_map(|(_, who)| stage_of(who)).min() == Some(number)
            });
            counted.count() >= usize::try_from(stage.required.unwrap_or(1)).unwrap_or(1).max(1)
        };
        let complete = !stages.is_empty() && stages.iter().enumerate().all(has_people);
        let least = so_far.iter().filter(|(d, who)| valid(&d.spec) && stage_of(who).is_some()).filter_map(|(d, _)| d.spec.duration).min();
        complete.then_some((at, least))
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn inv_03_start_and_deadline_come_from_stored_times(case in fresh_cases(), later in 0..9_000_i64, record in parts::record()) {
        let verdict = case.decide();
        let Some(grant) = &verdict.grant else { return Ok(()) };
        let Snapshot { request, eligibility, .. } = &case.snapshot;
        let eligibility = &eligibility.found().unwrap().spec;
        let (complete, shortened) = naive(&case).unwrap();
        let asked = request.object.spec.duration.or(eligibility.default_duration).unwrap_or(eligibility.max_duration);
        let length = shortened.map_or(asked, |d| d.min(asked));
        prop_assert_eq!(grant.start, request.object.created.max(complete));
        let end = grant.start + SignedDuration::from(length);
        prop_assert_eq!(grant.deadline, eligibility.end_time.map_or(end, |e| e.min(end)));
        prop_assert!(case.now < grant.deadline);
        prop_assert!(length <= eligibility.max_duration && length <= case.settings.max_grant);
        // Another clock, another record, a crash: the same grant or none.
        let others = [
            case.clone().now(later),
            case.clone().record(|r| *r = record),
            case.clone().apply(&verdict).record(|r| *r = Record::default()).now(later),
        ];
        for other in others {
            let again = other.decide();
            prop_assert!(again.grant.is_none() || again.grant.as_ref() == Some(grant));
            prop_assert!(again.state != State::Active || again.look_again.is_none_or(|at| at <= grant.deadline));
        }
    }

    #[test]
    fn inv_04_only_in_the_requests_own_namespace(case in fresh_cases()) {
        let Some(grant) = case.decide().grant else { return Ok(()) };
        let namespace = case.snapshot.namespace.found().unwrap();
        prop_assert_eq!(&grant.namespace, &case.snapshot.request.namespace);
        prop_assert_eq!(&grant.namespace_uid, &namespace.uid);
        prop_assert!(!namespace.terminating);
        prop_assert!(!["jit-system", "kube-system", "kube-public", "kube-node-lease"].contains(&grant.namespace.as_str()));
        let spec = &case.snapshot.eligibility.found().unwrap().spec;
        prop_assert!(spec.namespaces.names.contains(&grant.namespace) || spec.namespaces.selector.is_some());
        // In the operator's namespace, whatever its name.
        let mut own = case.clone();
        own.settings.operator_namespace.clone_from(&grant.namespace);
        prop_assert!(own.decide().grant.is_none());
    }

    #[test]
    fn inv_05_for_the_requester_and_the_approved_role_alone(case in fresh_cases()) {
        let Some(grant) = case.decide().grant else { return Ok(()) };
        let requester = case.snapshot.request.object.spec.requester.as_ref().unwrap();
        let name = requester.username.as_str();
        let whole = match &grant.subject.namespace {
            None => format!("{}:{}", grant.subject.kind, grant.subject.name),
            Some(namespace) => format!("{}:system:serviceaccount:{namespace}:{}", grant.subject.kind, grant.subject.name),
        };
        let kind = if name == parts::ROBOT { "ServiceAccount" } else { "User" };
        prop_assert_eq!(whole, format!("{kind}:{name}"));
        prop_assert_eq!(&grant.role, &case.snapshot.eligibility.found().unwrap().spec.role_ref);
        prop_assert_eq!(&grant.digest, &case.digest().to_string());
        prop_assert_eq!(&grant.request_uid, &case.snapshot.request.object.uid);
        prop_assert_eq!(&grant.name, &format!("jit-{}", case.snapshot.request.object.uid));
    }

    #[test]
    fn inv_06_enough_different_people_approved(case in fresh_cases()) {
        // Counted without regard to other reasons for a refusal.
        let Snapshot { request, policy, decisions, .. } = &case.snapshot;
        let (Some(policy), Some(requester), Some(digest)) = (policy.found(), &request.object.spec.requester, case.digest_if_known()) else {
            return Ok(());
        };
        let identities = &case.settings.identities;
        let progress = approval::progress(request, requester, policy, decisions, &digest, identities);
        prop_assert_eq!(progress.complete_at.map(|at| (at, progress.shortened)), naive(&case));
        prop_assert_eq!(progress.awaiting.is_some(), progress.complete_at.is_none() && !policy.spec.approval.stages.is_empty());
        for (number, one) in progress.counted.iter().enumerate() {
            prop_assert!(!is_same(&case, &one.approver, requester));
            prop_assert!(progress.counted.iter().skip(number + 1).all(|other| !is_same(&case, &one.approver, &other.approver)));
            prop_assert!(is_listed(&one.approver, &policy.spec.approval.stages[one.stage].approvers));
        }
        if case.decide().grant.is_some() {
            prop_assert!(naive(&case).is_some());
        }
    }

    #[test]
    fn inv_08_a_valid_no_is_the_end(case in cases(), no in said(), state in prop::sample::select(State::ALL.to_vec())) {
        let case = case.hears(&no);
        let Snapshot { request, policy, .. } = &case.snapshot;
        let requester = request.object.spec.requester.as_ref();
        let given_back = about(&case, Verb::Deactivate).any(|(_, who)| requester.is_some_and(|r| is_same(&case, r, who)));
        let refused = policy.found().is_some_and(|policy| {
            let approver = |who: &Stamp| policy.spec.approval.stages.iter().any(|s| is_listed(who, &s.approvers));
            let revoker = |who: &Stamp| approver(who) || policy.spec.revokers.as_ref().is_some_and(|people| is_listed(who, people));
            about(&case, Verb::Deny).any(|(_, who)| approver(who)) || about(&case, Verb::Revoke).any(|(_, who)| revoker(who))
        });
        if given_back || refused {
            let verdict = case.decide();
            prop_assert!(verdict.state.is_terminal() || request.object.deleting, "{verdict:?}");
            prop_assert_eq!(verdict.binding, BindingAction::Remove);
            prop_assert_eq!(verdict.grant, None);
        }
        // A completed request never starts again.
        if state.is_terminal() {
            let verdict = case.record(|r| r.state = Some(state)).decide();
            prop_assert!(verdict.grant.is_none() && verdict.binding == BindingAction::Remove);
            prop_assert!(verdict.state == state || verdict.state == State::Pending, "{verdict:?}");
        }
    }
}
