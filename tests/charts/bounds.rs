//! The bounds of the schemas are consistent: the status of a request can hold any content of policies, requests and decisions.

use domain::size;
use jit_rbac::crds;
use serde_json::Value;

use crate::render::{default, items, whole};

/// Default maximum of one write to etcd, in bytes.
const ETCD: u64 = 1_572_864;

fn schema(plural: &str, part: &str) -> Value {
    let (_, yaml) = crds::all().unwrap().into_iter().find(|(name, _)| name == plural).unwrap();
    let crd: Value = whole(&serde_saphyr::from_str(&yaml).unwrap());
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part].clone()
}

/// Returns the schema at `path`, as `stages.*.approvers.users`.
fn at(schema: &Value, path: &str) -> Value {
    path.split('.').fold(schema.clone(), |schema, step| match step {
        "*" => schema["items"].clone(),
        name => schema["properties"][name].clone(),
    })
}

/// Returns a bound of the schema at `path`.
fn bound(schema: &Value, path: &str, keyword: &str) -> u64 {
    at(schema, path)[keyword].as_u64().unwrap_or_else(|| panic!("{path} has no {keyword}"))
}

#[test]
fn f10_the_status_of_a_request_holds_what_the_schemas_allow() {
    let (policy, decision) = (schema("approvalpolicies", "spec"), schema("activationdecisions", "spec"));
    let (spec, status) = (schema("roleactivationrequests", "spec"), schema("roleactivationrequests", "status"));

    let approvals = bound(&policy, "approval.stages", "maxItems") * bound(&policy, "approval.stages.*.required", "maximum");
    assert!(bound(&status, "approvals", "maxItems") >= approvals, "{approvals} approvals");
    let name = bound(&decision, "decider.username", "maxLength");
    assert!(bound(&status, "approvedBy", "maxLength") >= approvals * (name + 1) - 1, "{approvals} names of {name}");

    for (from, source, to) in [
        (&policy, "approval.stages.*.name", "approvals.*.stage"),
        (&policy, "approval.stages.*.name", "awaiting.stage"),
        (&decision, "decider.username", "approvals.*.approver"),
        (&decision, "decider.username", "review.reviewedBy"),
        (&decision, "decider.username", "timeline.*.actor"),
        (&spec, "requester.username", "timeline.*.actor"),
        (&decision, "comment", "approvals.*.comment"),
        (&decision, "comment", "review.comment"),
        (&decision, "digest", "digest"),
        (&schema("roleeligibilities", "spec"), "roleRef.name", "role.name"),
    ] {
        let (most, holds) = (bound(from, source, "maxLength"), bound(&status, to, "maxLength"));
        assert!(holds >= most, "{source} has up to {most} characters, status.{to} holds {holds}");
    }
    for (source, to) in [("approval.stages.*.approvers", "awaiting.approvers"), ("emergency.reviewers", "review.reviewers")] {
        for list in ["users", "groups"] {
            let [source, to] = [source, to].map(|path| format!("{path}.{list}"));
            for (item, keyword) in [("", "maxItems"), (".*", "maxLength")] {
                let (most, holds) = (bound(&policy, &format!("{source}{item}"), keyword), bound(&status, &format!("{to}{item}"), keyword));
                assert!(holds >= most, "{source} has a {keyword} of {most}, status.{to} of {holds}");
            }
        }
    }
    // All risk classes at once.
    let risks = items(&at(&schema("roleeligibilities", "spec"), "acceptRisks.*")["enum"]).to_vec();
    let shown = ["Secrets", "WorkloadExec", "WorkloadCreate"].map(Value::from);
    let names: Vec<_> = risks.iter().chain(&shown).map(|name| name.as_str().unwrap()).collect();
    assert!(bound(&status, "role.risks", "maxItems") >= names.len() as u64);
    assert!(bound(&status, "role.riskSummary", "maxLength") >= names.join(",").len() as u64);
    assert!(names.iter().all(|name| name.len() as u64 <= bound(&status, "role.risks.*", "maxLength")));
}

/// Returns the maximum number of bytes of a value by this schema, with characters of `wide` bytes. Fields without a bound in the schema are
/// bounded by their writer.
fn largest(schema: &Value, wide: u64) -> u64 {
    match schema["type"].as_str() {
        Some("object") => {
            let members = schema["properties"].as_object().into_iter().flatten();
            let listed: u64 = members.map(|(name, member)| name.len() as u64 + 4 + largest(member, wide)).sum();
            let most = schema["maxProperties"].as_u64().unwrap_or_default();
            2 + listed + most * (256 + largest(&schema["additionalProperties"], wide))
        }
        Some("array") => 2 + schema["maxItems"].as_u64().expect("every list has a bound") * (1 + largest(&schema["items"], wide)),
        Some("string") if schema["enum"].is_array() => 32,
        Some("string") if schema["format"] == "date-time" => 40,
        // The writer truncates messages of conditions.
        Some("string") => 2 + wide * schema["maxLength"].as_u64().unwrap_or(1024),
        _ => 20,
    }
}

#[test]
fn f10_f48_the_largest_request_that_people_can_make_fits_into_the_store_with_its_status() {
    let record = size::OF_A_RECORD.bytes as u64;
    let (spec, status) = (schema("roleactivationrequests", "spec"), schema("roleactivationrequests", "status"));
    // Generated text is ASCII, users' text can be in any script.
    assert!(record + largest(&status, 1) < ETCD / 2, "{}", largest(&status, 1));
    assert!(record + largest(&status, 3) < ETCD, "{}", largest(&status, 3));
    // The total of all stamp fields without another bound.
    assert!(largest(&spec, 1) > record, "the sum of the fields exceeds the bound of the whole object");
}

#[test]
fn f48_the_policies_count_as_admission_measures() {
    for (names, most) in [(["requests", "decisions"], size::OF_A_RECORD), (["eligibilities", "approval-policies"], size::OF_A_RULE)] {
        for name in names {
            let policy = default().get("ValidatingAdmissionPolicy", &format!("jit-rbac-{name}"));
            let check = items(&policy["spec"]["validations"]).iter().find(|check| check["expression"].as_str().unwrap().contains(".sum()"));
            let text = check.unwrap_or_else(|| panic!("{name} has no bound"))["expression"].as_str().unwrap();
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for (what, most) in [
                ("size(variables.labels)", most.labels),
                ("size(variables.annotations)", most.annotations),
                ("size(variables.owners)", most.owners),
                ("size(variables.finalizers)", most.finalizers),
                ("size(variables.managers)", most.managers),
                (".sum()", most.annotation_text),
            ] {
                assert!(text.contains(&format!("{what} <= {most}")), "{name}: {what} <= {most} is not in {text}");
            }
        }
    }
}
