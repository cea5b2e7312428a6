//! Reasons about eligibilities and policies as they are written.

use super::{APPLY_ELIGIBILITY, APPLY_POLICY, Example::Console, Explanation};

pub const Valid: Explanation = Explanation {
    meaning: "The eligibility or policy can be used.",
    when: "On the condition `Ready` of eligibilities and policies, and on the condition `Usable` of eligibilities.",
    examples: &[Console(
        r#"kubectl get rel payments-oncall -o jsonpath='{.status.conditions[?(@.type=="Usable")].reason}: {.status.conditions[?(@.type=="Usable")].message}'"#,
        &["Valid: the eligibility can be activated"],
    )],
    requester: "Nothing.",
    admin: "Nothing. The operator checks the object again whenever it, its policy or its role changes.",
};

pub const EndRequired: Explanation = Explanation {
    meaning: "An eligibility needs an `endTime`, unless its policy allows permanent eligibility.",
    when: "When an eligibility is written, and on its condition `Ready`.",
    examples: &[Console(
        APPLY_ELIGIBILITY,
        &[
            "EndRequired: spec.endTime is missing and policy 'refunds-policy' requires it (spec.eligibility.requireEnd); set it, or set requireEnd to false",
        ],
    )],
    requester: "Tell an admin.",
    admin: "Set `rel.spec.endTime`. If you set `apol.spec.eligibility.requireEnd` to false, every eligibility under this policy can \
            be permanent.",
};

pub const EligibilityTooLong: Explanation = Explanation {
    meaning: "The time from the eligibility's start to its end is longer than the policy allows. The start is `startTime`, or the \
              creation of the eligibility if it has none.",
    when: "When an eligibility is written, and on its condition `Ready`.",
    examples: &[Console(
        APPLY_ELIGIBILITY,
        &[
            "EligibilityTooLong: the eligibility ends at 2037-01-01T00:00:00Z; policy 'refunds-policy' allows 8760h (spec.eligibility.maxDuration): spec.endTime may be … at the latest",
        ],
    )],
    requester: "Tell an admin.",
    admin: "Set an earlier `rel.spec.endTime`. The message contains the latest one. The limit is \
            `apol.spec.eligibility.maxDuration`. To renew an old eligibility, set `rel.spec.startTime` to today.",
};

pub const AboveMaxGrant: Explanation = Explanation {
    meaning: "`maxGrant` is the upper limit for every grant. A policy inside the API server enforces it against the operator too, so \
              a longer grant cannot be created.",
    when: "When an eligibility or policy is written, and on its condition `Ready`.",
    examples: &[Console(
        APPLY_ELIGIBILITY,
        &[
            "AboveMaxGrant: spec.maxDuration is 25h, at most 24h is allowed by the chart's value maxGrant; lower the field or raise the value",
        ],
    )],
    requester: "Tell an admin.",
    admin: "Lower the field, or raise the chart's `maxGrant` and upgrade the release. For a role that is needed for weeks, do not \
            use an activation.",
};

pub const SystemNameNotAllowed: Explanation = Explanation {
    meaning: "Users and groups whose names begin with `system:` belong to Kubernetes. `system:authenticated` is every user that is \
              signed in, and `system:masters` is not limited by RBAC. They can be neither eligible nor approvers.",
    when: "When an eligibility or policy is written, and on its condition `Ready`. The schema and the policies inside the API server \
           usually refuse first, with a message without a reason.",
    examples: &[Console(
        "kubectl get apol two-eyes -o jsonpath='{.status.conditions[0].reason}: {.status.conditions[0].message}'",
        &[
            "SystemNameNotAllowed: spec.approval.stages[0].approvers list 'system:masters', which is reserved for Kubernetes; list users, your own groups, or a ServiceAccount by its full user name",
        ],
    )],
    requester: "Tell an admin.",
    admin: "Name people or groups of your identity provider. A ServiceAccount is `kind: ServiceAccount` among subjects. Among \
            approvers it is its full user name.",
};

pub const QuorumImpossible: Explanation = Explanation {
    meaning: "The stage can never be complete: it lists fewer users than it requires, and no group.",
    when: "When a policy is written, and on its condition `Ready`.",
    examples: &[Console(
        APPLY_POLICY,
        &["QuorumImpossible: stage 'leads' requires 2 approvers and lists 1; list more users or a group, or lower `required`"],
    )],
    requester: "Tell an admin.",
    admin: "List at least one user more than the stage requires: the requester may be one of them, and an approver may be absent.",
};

pub const ReasonRequired: Explanation = Explanation {
    meaning: "The policy requires that the eligibility states in `spec.justification` why its subjects may activate the role.",
    when: "When an eligibility is written, and on its condition `Ready`.",
    examples: &[Console(
        APPLY_ELIGIBILITY,
        &[
            "ReasonRequired: spec.justification is missing and policy 'refunds-policy' requires it (spec.eligibility.requireJustification); set it to why these users are eligible",
        ],
    )],
    requester: "Tell an admin.",
    admin: "Set `rel.spec.justification`. The rule is `apol.spec.eligibility.requireJustification`.",
};

pub const AuthorLacksBind: Explanation = Explanation {
    meaning: "An eligibility makes other users eligible for a role. So its author must hold the verb `bind` on the role, in every \
              namespace that the eligibility covers, or in the whole cluster if it has a selector. The same applies to the author of \
              a policy that eligibilities refer to.",
    when: "When an eligibility or policy is written, and when a finalizer is added to one: a finalizer keeps the object stored after its \
           deletion. If the API server cannot answer, the write is refused.\n\nAlso when a request is created, and on the eligibility's \
           condition `Ready`, in two cases in which the check at the write does not apply to what exists now:\n\n- `namespace '...' was \
           deleted and recreated`: the author was checked for the namespace that had this name before. An author who may bind the role in \
           the whole cluster is not affected.\n- `policy '...' and eligibility '...' were written at the same time`: each check read the \
           cluster before the other write.",
    examples: &[Console(
        APPLY_POLICY,
        &[
            "AuthorLacksBind: 'author-who-is-refused' may not write policy 'wages-awaited', under which eligibility 'wages-waiting' makes users eligible for ClusterRole 'view' in namespace 'wages': this requires the verb bind on the role there (holding its permissions is not sufficient); ask a user who has it to write the object, or be granted the rule {apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], resourceNames: [view], verbs: [bind]} by a RoleBinding there, or the verb administer on approvalpolicies.jitrbac.dev 'wages-awaited'",
        ],
    )],
    requester: "Ask a user who holds `bind` on the role to write the object.",
    admin: "If the check no longer applies, review the eligibility and the policy. Then change any field of the spec that the \
            message names, for example `spec.description`. jit-rbac checks the new write and records the check.\n\n\
            The annotation `jitrbac.dev/author-check` records what was checked: the generation of the spec, the policy, the role, \
            and either `everywhere` or the UID of each listed namespace. It changes only with the spec. A spec without the \
            annotation was written by a version of jit-rbac that did not record the check. It stays valid, and the next change of \
            the spec records the check.\n\n\
            Give the author, or the account of your GitOps tool, the verb `bind` on exactly these roles by `resourceNames`. Holding \
            the permissions of the role is not enough. This is intended.",
};

pub const EvidenceObserved: Explanation = Explanation {
    meaning: "The policy requires evidence of the sign-in, and the API server has passed on each of its keys with at least one \
              request. So requests can meet the rule.",
    when: "On the condition `EvidenceObserved` of a policy with `requirements.authentication`.",
    examples: &[Console(
        r#"kubectl get apol two-eyes -o jsonpath='{.status.conditions[?(@.type=="EvidenceObserved")].reason}: {.status.conditions[?(@.type=="EvidenceObserved")].message}'"#,
        &["EvidenceObserved: sign-ins have contained 'jitrbac.dev/amr', 'jitrbac.dev/auth-time'"],
    )],
    requester: "Nothing.",
    admin: "Nothing.",
};

pub const EvidenceNotObserved: Explanation = Explanation {
    meaning: "The policy requires a key in `userInfo.extra` that no request has carried so far. Until a request carries it, no \
              request meets the rule. The cause can be a spelling mistake, or a cluster whose authentication passes nothing on.",
    when: "On the condition `EvidenceObserved` of a policy with `requirements.authentication`, until the first request with the key.",
    examples: &[Console(
        r#"kubectl get apol two-eyes -o jsonpath='{.status.conditions[?(@.type=="EvidenceObserved")].reason}: {.status.conditions[?(@.type=="EvidenceObserved")].message}'"#,
        &[
            "EvidenceNotObserved: no request has contained 'jitrbac.dev/amr' yet; if none can, the cluster's authentication does not pass it on (claimMappings.extra), and nothing is granted under this policy",
        ],
    )],
    requester: "Nothing. Your request would be refused with [EvidenceMissing](EvidenceMissing.md).",
    admin: "Sign in as one of the requesters, and run `kubectl auth whoami -o yaml`. Compare the keys under `extra` with \
            `apol.spec.requirements.authentication`. Right after an installation no request exists yet; then this reason is normal.",
};
