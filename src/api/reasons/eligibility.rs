//! Reasons about the eligibility, the namespace and the role of a request.

use super::{APPLY_ELIGIBILITY, APPLY_REQUEST, Example::Console, Explanation};

pub const EligibilityNotFound: Explanation = Explanation {
    meaning: "The request names an eligibility that does not exist.",
    when: "When a request is created. A pending request ends as Denied. A scheduled one ends as Revoked, with the reason \
           [EligibilityRemoved](EligibilityRemoved.md).",
    examples: &[Console(
        APPLY_REQUEST,
        &["EligibilityNotFound: there is no eligibility 'payments-onkall'; 'kubectl get roleeligibilities' lists them"],
    )],
    requester: "Correct `spec.eligibilityRef.name`. `kubectl get rel` lists all eligibilities, `kubectl jit roles` lists yours.",
    admin: "Eligibilities are cluster-scoped. If one was deleted by mistake, create it again. Requests that were pending under it \
            have ended.",
};

pub const EligibilityNotReady: Explanation = Explanation {
    meaning: "The eligibility contradicts itself, the operator's settings or its policy. The message contains the reason and the \
              message of the eligibility's condition `Ready`.",
    when: "When a request is created. A pending request stays Pending with this reason, and ends as TimedOut unless the eligibility \
           is corrected.",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "EligibilityNotReady: eligibility 'payments-oncall' cannot be used: EndRequired: spec.endTime is missing and policy 'two-eyes' requires it (spec.eligibility.requireEnd); set it, or set requireEnd to false",
        ],
    )],
    requester: "Send the message to an admin. Another eligibility may be usable: `kubectl get rel` lists which are READY, and so \
                does `kubectl jit roles`.",
    admin: "`kubectl get rel` shows the same reason. Correct the cause of the second reason in the message, which also has a page here. \
            A frequent cause is a policy that was made stricter: kubectl printed a warning when the policy was written.",
};

pub const EligibilityNotStarted: Explanation = Explanation {
    meaning: "The eligibility starts in the future.",
    when: "When a request is created. A pending request ends as Denied, a scheduled one as Revoked. Until the start also on the \
           eligibility's condition `Usable`.",
    examples: &[Console(
        APPLY_REQUEST,
        &["EligibilityNotStarted: eligibility 'payments-later' has not started at …: it starts at 2035-01-01T00:00:00Z (spec.startTime)"],
    )],
    requester: "Request again from that time on.",
    admin: "Set an earlier `rel.spec.startTime`, or remove it.",
};

pub const EligibilityExpired: Explanation = Explanation {
    meaning: "The eligibility has ended. After its `endTime` it cannot be activated. A grant never lasts longer than the \
              eligibility.",
    when: "When a request is created. A pending request ends as Denied, a scheduled one as Revoked. An active grant is revoked if \
           the `endTime` was moved to the past. Also on the eligibility's condition `Usable`.",
    examples: &[Console(
        APPLY_REQUEST,
        &["EligibilityExpired: eligibility 'payments-over' is not valid at …: it ends at 2026-01-01T00:00:00Z (spec.endTime)"],
    )],
    requester: "Ask an admin to extend the eligibility, or use another one.",
    admin: "Review whether the subjects still need the role. If so, set a later `rel.spec.endTime`, at most \
            `apol.spec.eligibility.maxDuration` after the start. Entra PIM calls this AdminRenew.",
};

pub const EligibilitySuspended: Explanation = Explanation {
    meaning: "An admin has set `suspended: true`. Nothing can be activated under this eligibility, and the operator revoked every \
              active grant at once.",
    when: "When a request is created. A pending request ends as Denied, an active or scheduled grant as Revoked. Also on the \
           eligibility's condition `Usable`.",
    examples: &[Console(APPLY_REQUEST, &["EligibilitySuspended: eligibility 'payments-suspended' is suspended (spec.suspended)"])],
    requester: "Ask an admin why the eligibility is suspended.",
    admin: "After the incident, set `rel.spec.suspended` to false. Revoked grants stay revoked; requesters create new requests.",
};

pub const NamespaceNotCovered: Explanation = Explanation {
    meaning: "A request is for the namespace that it is in. The eligibility lists other namespaces, or its selector does not match \
              the labels of this one.",
    when: "When a request is created. A pending request ends as Denied, a scheduled one as Revoked. An active grant is revoked when \
           its namespace is no longer covered, for example because a label was removed.",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "NamespaceNotCovered: namespace 'shop' is not covered by eligibility 'payments-oncall', which is for payments",
            "NamespaceNotCovered: namespace 'payments' is not covered by eligibility 'payments-team', which is for namespaces with team=payments",
        ],
    )],
    requester: "Create the request in the namespace in which you need the access (`-n`). `kubectl jit roles -n NAMESPACE` lists what \
                can be activated there. `kubectl get rel payments-oncall -o yaml` lists the covered namespaces in \
                `status.namespaces`.",
    admin: "Add the namespace to `rel.spec.namespaces.names`, or label it. A user who may label namespaces decides what a selector \
            covers.",
};

pub const NamespaceProtected: Explanation = Explanation {
    meaning: "In the operator's own namespace nothing is ever granted, because a user who can run a pod there can act as the \
              operator. In the namespaces of the cluster (`kube-system`, `kube-public`, `kube-node-lease`) nothing is granted unless \
              the chart allows it.",
    when: "When an eligibility names such a namespace, and when a request is created in one.",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "NamespaceProtected: namespace 'kube-system' is the cluster's own: no role can be activated in it…",
            "NamespaceProtected: namespace 'jit-system' is the operator's own: no role can be activated in it",
        ],
    )],
    requester: "Ask the cluster administrators.",
    admin: "For a namespace of the cluster, list it in the chart's `systemNamespaces`, name it in `rel.spec.namespaces.names` (a \
            selector never covers it), and accept the risk `SystemNamespace` in `rel.spec.acceptRisks`. For the operator's own \
            namespace use your break-glass account: see \
            [by hand, in an emergency](../known-limits.md#by-hand-in-an-emergency).",
};

pub const NamespaceTerminating: Explanation = Explanation {
    meaning: "Nothing is granted in a namespace that is being deleted. A namespace that was deleted and created again under the same \
              name is a different one: approvals and grants for the old one do not count.",
    when: "When a request is created. A pending request ends as Denied, a scheduled one as Revoked. An active grant is revoked as \
           soon as the deletion of its namespace begins.",
    examples: &[Console(APPLY_REQUEST, &["NamespaceTerminating: namespace 'payments' is terminating: nothing can be activated in it"])],
    requester: "If the namespace was created again, create a new request in it.",
    admin: "Nothing. jit-rbac sets no finalizer and never delays the deletion of a namespace. If a namespace stays in Terminating, \
            read its `status.conditions`.",
};

pub const PolicyNotFound: Explanation = Explanation {
    meaning: "The eligibility names an ApprovalPolicy that does not exist. Without a policy nothing is granted.",
    when: "When a request is created, or a decision `Deny` or `Revoke`. A pending request stays Pending and ends as TimedOut. Also \
           on the eligibility's condition `Ready`, and as a warning when the eligibility is written.",
    examples: &[Console(
        APPLY_REQUEST,
        &["PolicyNotFound: eligibility 'payments-lawless' refers to policy 'nosuch', which does not exist"],
    )],
    requester: "Send the message to an admin.",
    admin: "Create the policy, or correct `rel.spec.policyRef`. Before you create the policy, list the eligibilities that refer to \
            its name: the policy decides what each of them requires.",
};

pub const PolicyNotReady: Explanation = Explanation {
    meaning: "The ApprovalPolicy contradicts itself or the operator's settings. The usual cause is that `maxGrant` was lowered after \
              the policy was written.",
    when: "When a request is created. A pending request stays Pending and ends as TimedOut. Also on the eligibility's condition \
           `Ready`.",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "PolicyNotReady: policy 'two-eyes' cannot be used: AboveMaxGrant: spec.limits.maxDuration is 25h, at most 24h is allowed by the chart's value maxGrant; lower the field or raise the value",
        ],
    )],
    requester: "Send the message to an admin.",
    admin: "`kubectl get apol` shows the same reason. Correct the cause of the second reason in the message, which also has a page \
            here.",
};

pub const RoleNotFound: Explanation = Explanation {
    meaning: "The eligibility is for a Role or ClusterRole that does not exist. A Role is looked up in the namespace of the request, \
              so it can exist in one namespace and be missing in another.",
    when: "When a request is created. A pending request stays Pending and ends as TimedOut. For a ClusterRole also on the \
           eligibility's condition `Ready`, and as a warning when the eligibility is written.",
    examples: &[Console(
        APPLY_REQUEST,
        &["RoleNotFound: eligibility 'payments-debug' refers to Role 'debug', which does not exist in namespace 'shop'"],
    )],
    requester: "Send the message to an admin.",
    admin: "Create the role, or correct `rel.spec.roleRef`. The operator creates no RoleBinding to a role that does not exist: it \
            would grant access as soon as a role with that name is created.",
};

pub const RoleNotBindable: Explanation = Explanation {
    meaning: "The operator may grant only the roles that the chart's `bindableRoles` lists by name. The list becomes the operator's \
              only `bind` rule, so Kubernetes itself refuses any other role.",
    when: "When an eligibility is written, and on its condition `Ready`.",
    examples: &[Console(
        APPLY_ELIGIBILITY,
        &[
            "RoleNotBindable: ClusterRole 'cluster-admin' is not in the chart's value bindableRoles.clusterRoles, so the operator may not grant it; add it there, or use a role that is listed",
        ],
    )],
    requester: "Request an eligibility for a smaller role, or ask an admin.",
    admin: "Add the role to `bindableRoles.clusterRoles` or `bindableRoles.roles`, and upgrade the release. Before that, consider \
            what a holder of the role can keep: see \
            [what was created during a grant stays](../known-limits.md#what-was-created-during-a-grant-stays).",
};

pub const RoleTooLarge: Explanation = Explanation {
    meaning: "The rules of the role are longer than 262144 bytes (256 KiB) as the API server writes them in JSON. The operator does \
              not read longer rules, so it cannot check what the role allows and does not grant it.",
    when: "When an eligibility or a request is created, and on the eligibility's condition `Ready`. A pending request stays Pending \
           and ends as TimedOut. An active grant whose role grows beyond the limit counts as one whose \
           [role has changed](RoleChanged.md).",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "RoleTooLarge: eligibility 'payments-debug' cannot be used: the rules of Role 'debug' have 1048900 bytes, and a role that can be activated has 262144 at most; shorten them, for example with fewer resourceNames, or split them into several roles",
        ],
    )],
    requester: "Send the message to an admin.",
    admin: "Measure the role: `kubectl get role debug -n payments -o json | jq '.rules' | wc -c`. Rules of this length nearly always \
            come from `resourceNames`. Shorten the list, or divide the rules between several roles with one eligibility each.",
};

pub const Unreadable: Explanation = Explanation {
    meaning: "An object that the decision depends on is stored in a form that cannot be parsed, or the API server did not answer. \
              Nothing is granted then, and active grants stay active, with one exception: a decision on the request that cannot be \
              parsed may be a denial. It ends the grant, unless it is an `Approve` or a `Review`.",
    when: "At any write, with the code 503 if the cause may be temporary. On a pending request, on a grant that such a decision \
           ended as Revoked, and on an eligibility's condition `Ready`.",
    examples: &[Console(APPLY_REQUEST, &["Unreadable: the review took longer than 4s; try again"])],
    requester: "Try again in a moment. If the message names an object, tell an admin.",
    admin: "If the message names an object, write that object again, so that the current schema validates it. A decision cannot be \
            changed: delete it, which needs the verb `purge`. If the reason comes and goes, check the API server's load and the \
            webhook's log.",
};
