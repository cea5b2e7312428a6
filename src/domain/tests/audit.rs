//! The replay: it proves what the rules decide, and nothing that was invented, changed or left out.

use k8s_openapi::{api::rbac::v1::PolicyRule, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde_json::{Value, json};

use super::*;
use api::{ActivationDecision, ApprovalPolicy, Reason, RoleActivationRequest, RoleActivationRequestStatus, RoleEligibility, conditions};
use domain::{
    activity::{self, Kind},
    audit::{
        input::{self, Input, SettingsBody},
        leaf::{self, Entry, EventData, Inputs, Recorded, Reference, Subject},
        replay::{Proof, Replay},
    },
    instant::stamp,
};

/// A log of one event: its inputs, and the event.
#[derive(Clone)]
struct Log {
    inputs: Vec<Input>,
    event: Recorded,
}

fn meta<S>(object: &Object<S>, namespace: Option<&str>) -> ObjectMeta {
    ObjectMeta {
        name: Some(object.name.clone()),
        namespace: namespace.map(str::to_owned),
        uid: Some(object.uid.clone()),
        generation: Some(object.generation),
        creation_timestamp: Some(conditions::to_time(object.created)),
        ..ObjectMeta::default()
    }
}

fn settings() -> Input {
    let body: SettingsBody = serde_json::from_value(json!({"operatorNamespace": "jit-system", "maxGrant": "24h"})).unwrap();
    body.input()
}

impl Log {
    /// The log of what happened to the request of a case, with this status.
    fn of(case: &TestCase, kind: Kind, at: Timestamp, status: RoleActivationRequestStatus) -> Self {
        let snapshot = &case.snapshot;
        let facts = &snapshot.request;
        let mut request = RoleActivationRequest::new(&facts.object.name, facts.object.spec.clone());
        request.metadata = meta(&facts.object, Some(&facts.namespace));
        request.status = Some(status);
        let mut inputs = vec![settings(), Input::request(&request)];
        let mut named = Inputs { settings: Reference::Hash(inputs[0].hash.clone()), ..Inputs::default() };
        named.request = Reference::Hash(inputs[1].hash.clone());
        for said in &snapshot.decisions {
            let mut decision = ActivationDecision::new(&said.name, said.spec.clone());
            decision.metadata = meta(said, Some(&facts.namespace));
            let input = Input::decision(&decision);
            named.decisions.push(input.hash.clone());
            inputs.push(input);
        }
        let mut add = |input: Option<Input>| {
            let reference = input.as_ref().map_or(Reference::Absent, |input| Reference::Hash(input.hash.clone()));
            inputs.extend(input);
            reference
        };
        named.eligibility = add(snapshot.eligibility.found().map(|found| {
            let mut stored = RoleEligibility::new(&found.name, found.spec.clone());
            stored.metadata = meta(found, None);
            Input::eligibility(&stored)
        }));
        named.policy = add(snapshot.policy.found().map(|found| {
            let mut stored = ApprovalPolicy::new(&found.name, found.spec.clone());
            stored.metadata = meta(found, None);
            Input::policy(&stored)
        }));
        named.namespace = add(snapshot.namespace.found().map(|found| {
            let labels = Some(found.labels.clone());
            Input::namespace(&ObjectMeta {
                name: Some(facts.namespace.clone()),
                uid: Some(found.uid.clone()),
                labels,
                ..ObjectMeta::default()
            })
        }));
        named.role = add(snapshot.role.found().map(|found| {
            let rules: Vec<PolicyRule> = found.rules.rules().iter().map(stored_rule).collect();
            let meta = ObjectMeta { name: Some(found.name.clone()), uid: Some(found.uid.clone()), ..ObjectMeta::default() };
            Input::role(found.kind, &meta, &json!(rules))
        }));
        let object = Subject {
            kind: "RoleActivationRequest".to_owned(),
            namespace: Some(facts.namespace.clone()),
            name: facts.object.name.clone(),
            uid: facts.object.uid.clone(),
        };
        let data = EventData {
            event: kind.as_str().to_owned(),
            actor: "jit-rbac".to_owned(),
            message: String::new(),
            severity: "info".to_owned(),
            object,
            state: None,
            requester: None,
            eligibility: None,
            role: None,
            recorded: at,
            inputs: named,
        };
        let id = activity::id(&facts.object.uid, kind.as_str(), at, 1);
        let event = json!({"id": id, "source": "cluster", "type": "dev.jitrbac.activation.x.v1", "time": stamp(at), "data": data});
        Self { inputs, event: serde_json::from_value(event).unwrap() }
    }

    /// The log of the grant of a case.
    fn granted(case: &TestCase) -> Self {
        let (grant, now) = (case.grant(), case.now);
        Self::of(case, Kind::Granted, now, status(&grant))
    }

    /// What a replay says, through the bytes of the leaves.
    fn proof(&self) -> Proof {
        let mut replay = Replay::new(true);
        for input in &self.inputs {
            for part in leaf::input("cluster", input) {
                let entry = leaf::parse(part.to_string().as_bytes());
                assert!(matches!(entry, Entry::Input(_)) && part.to_string().len() < 65_535);
                assert_eq!(replay.take(entry), Ok(None));
            }
        }
        replay.take(Entry::Event(Box::new(self.event.clone()))).unwrap().expect("it is a grant or an end").proof
    }

    /// Changes an input, as a writer of the log with its key could.
    fn forged(mut self, kind: input::Kind, change: impl Fn(&mut Value)) -> Self {
        for input in self.inputs.iter_mut().filter(|input| input.kind == kind) {
            let before = input.hash.clone();
            change(&mut input.body);
            *input = Input::new(kind, input.body.clone());
            let text = serde_json::to_string(&self.event).unwrap().replace(&before, &input.hash);
            self.event = serde_json::from_str(&text).unwrap();
        }
        self
    }
}

fn stored_rule(rule: &Rule) -> PolicyRule {
    let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    PolicyRule {
        api_groups: some(&rule.api_groups),
        resources: some(&rule.resources),
        resource_names: some(&rule.resource_names),
        non_resource_urls: some(&rule.non_resource_urls),
        verbs: rule.verbs.clone(),
    }
}

fn status(grant: &Grant) -> RoleActivationRequestStatus {
    RoleActivationRequestStatus {
        state: Some(State::Active),
        granted_at: Some(grant.start),
        expires_at: Some(grant.deadline),
        digest: Some(grant.digest.clone()),
        ..RoleActivationRequestStatus::default()
    }
}

fn approved() -> TestCase {
    two_eyes().approves(&lead(1), 5).now(6)
}

fn contradicted(log: &Log, why: &str) {
    let proof = log.proof();
    assert!(matches!(&proof, Proof::Contradicted(found) if found.contains(why)), "{proof:?} instead of '{why}'");
}

#[test]
fn t96_a_grant_follows_from_what_is_in_the_log() {
    for case in [case(), approved()] {
        assert_eq!(Log::granted(&case).proof(), Proof::Proven);
    }
}

#[test]
fn t96_an_invented_grant_does_not() {
    // As if nobody had approved: the digest and the end are right.
    let grant = approved().grant();
    contradicted(&Log::of(&two_eyes().now(6), Kind::Granted, at(6), status(&grant)), "AwaitingApproval");
    let mut without = Log::granted(&approved());
    without.event.data.inputs.decisions.clear();
    contradicted(&without, "AwaitingApproval");
    // The reference is there, and the decision is not.
    let mut removed = Log::granted(&approved());
    removed.inputs.retain(|input| input.kind != input::Kind::Decision);
    contradicted(&removed, "is not in the log before it");
}

#[test]
fn t96_a_grant_after_a_denial_does_not() {
    let status = status(&approved().grant());
    let denied = |at_: i64| Log::of(&approved().says(Verb::Deny, &lead(2), at_), Kind::Granted, at(6), status.clone()).proof();
    assert!(matches!(denied(5), Proof::Contradicted(_)));
    // Times have whole seconds, and this denial may have come right after the grant.
    assert_eq!(denied(6), Proof::Proven);
}

#[test]
fn t96_a_changed_input_is_found() {
    let log = || Log::granted(&approved());
    contradicted(
        &log().forged(input::Kind::Role, |role| role["rules"] = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])),
        "",
    );
    contradicted(&log().forged(input::Kind::Request, |request| request["spec"]["duration"] = json!("44m")), "");
    contradicted(&log().forged(input::Kind::Request, |request| request["status"]["expiresAt"] = json!(stamp(at(9_999)))), "granted until");
    contradicted(&log().forged(input::Kind::Decision, |decision| decision["spec"]["decider"]["username"] = json!("dev")), "");
    contradicted(&log().forged(input::Kind::Eligibility, |eligibility| eligibility["spec"]["subjects"][0]["name"] = json!("others")), "");
    contradicted(&log().forged(input::Kind::Namespace, |namespace| namespace["metadata"]["uid"] = json!("another")), "");
    contradicted(
        &Log::granted(&case()).forged(input::Kind::Policy, |policy| policy["metadata"]["uid"] = json!("another")),
        "has the digest",
    );
    // A byte that does not fit its hash.
    let mut replay = Replay::new(true);
    let text = leaf::input("cluster", &log().inputs[1])[0].to_string().replace("inc-4711", "inc-4712");
    assert!(replay.take(leaf::parse(text.as_bytes())).unwrap_err().contains("has another hash"));
}

#[test]
fn t96_an_end_follows_from_what_is_in_the_log() {
    let case = approved();
    let grant = case.grant();
    let ended = |kind: Kind, state: State, reason, at_: Timestamp, case: &TestCase| {
        let status = RoleActivationRequestStatus { state: Some(state), reason: Some(reason), ended_at: Some(at_), ..status(&grant) };
        Log::of(case, kind, at_, status)
    };
    assert_eq!(ended(Kind::Expired, State::Expired, Reason::Expired, grant.deadline, &case).proof(), Proof::Proven);
    let early = ended(Kind::Expired, State::Expired, Reason::Expired, at(60), &case);
    contradicted(&early, "the rules decide Active");
    let back = case.clone().says(Verb::Deactivate, &dev(), 60);
    assert_eq!(ended(Kind::Deactivated, State::Deactivated, Reason::DeactivatedByRequester, at(60), &back).proof(), Proof::Proven);
    contradicted(&ended(Kind::Deactivated, State::Deactivated, Reason::DeactivatedByRequester, at(60), &case), "the rules decide Active");
    let gone = case.clone().change(|c| c.snapshot.eligibility = Lookup::Absent);
    assert_eq!(ended(Kind::Revoked, State::Revoked, Reason::EligibilityRemoved, at(60), &gone).proof(), Proof::Proven);
    let observed = ended(Kind::Revoked, State::Revoked, Reason::BindingRemoved, at(60), &case).proof();
    assert!(matches!(observed, Proof::Observed(_)), "{observed:?}");
    let mut late = early;
    late.event.data.recorded = at(600);
    assert!(matches!(late.proof(), Proof::Unproven(_)));
}

#[test]
fn t96_an_end_without_its_grant_and_a_repeated_event_are_found() {
    let case = approved();
    let (grant, mut replay) = (case.grant(), Replay::new(false));
    let status = RoleActivationRequestStatus { state: Some(State::Expired), ended_at: Some(grant.deadline), ..status(&grant) };
    let log = Log::of(&case, Kind::Expired, grant.deadline, status);
    for input in &log.inputs {
        replay.take(leaf::parse(leaf::input("cluster", input)[0].to_string().as_bytes())).unwrap();
    }
    let judged = replay.take(Entry::Event(Box::new(log.event.clone()))).unwrap().unwrap();
    assert!(matches!(&judged.proof, Proof::Contradicted(why) if why.contains("a grant that is not in the log")), "{judged:?}");
    assert!(replay.take(Entry::Event(Box::new(log.event))).unwrap_err().contains("recorded twice"));
}

#[test]
fn a_large_input_is_split_and_put_together() {
    let text = "ä\"\\".repeat(40_000);
    let input = Input::new(input::Kind::Role, json!({ "text": text }));
    let parts = leaf::input("cluster", &input);
    assert!(parts.len() > 3 && parts.iter().all(|part| part.to_string().len() < 65_535));
    let mut known = leaf::Known::default();
    let take = |known: &mut leaf::Known, part: &Value| match leaf::parse(part.to_string().as_bytes()) {
        Entry::Input(part) => known.take(*part),
        other => panic!("{other:?}"),
    };
    // A writer that was killed between two parts writes all of them again.
    take(&mut known, &parts[0]).unwrap();
    for part in &parts {
        take(&mut known, part).unwrap();
    }
    assert_eq!(known.get(input::Kind::Role, &input.hash), Some(&input.body));
    assert!(take(&mut leaf::Known::default(), &parts[1]).is_err());
}
